"""A chat template as a program: compiled once, and rendered in the same way as by transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agentlm.prompt.shapes import UnusableTemplateError

_OURS = {"messages", "add_generation_prompt", "tools", "documents", "bos_token", "eos_token"}
"""The variables that describe the conversation. Other variables that a template reads can be
set."""
_ERRORS = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError)


class Template:
    def __init__(self, text: str, bos: str, eos: str, settings: Mapping[str, object]) -> None:
        """Raises UnusableTemplateError if the text is not a template."""
        environment = _environment()
        self._constants = {**settings, "bos_token": bos, "eos_token": eos}
        try:
            tree = environment.parse(text)
            self.settable = frozenset(_variables(tree, environment))
            """Names that `chat_template_kwargs` can set."""
            self._program = environment.from_string(tree)
        except TemplateError as error:
            raise UnusableTemplateError(str(error)) from error

    def render(self, messages: Sequence[Mapping[str, str]], *, generate: bool) -> str:
        """Raises UnusableTemplateError if the template refuses the conversation."""
        try:
            return self._program.render(
                messages=messages,
                add_generation_prompt=generate,
                tools=None,
                documents=None,
                **self._constants,
            )
        except _ERRORS as error:
            raise UnusableTemplateError(str(error)) from error


class _Generation(Extension):
    """`{% generation %}` tells transformers what to train on; here the record knows that."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    # A date in the prompt would make equal conversations differ. Templates test whether it exists.
    environment.globals["strftime_now"] = lambda _format: "26 Jul 2024"
    return environment


def _variables(tree: nodes.Template, environment: ImmutableSandboxedEnvironment) -> set[str]:
    """Variables that it reads and doesn't set. One that it first tests for counts as well (`{% if
    date is not defined %}{% set date = … %}`)."""
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    tests = (test for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined"))
    tested = {test.node.name for test in tests if isinstance(test.node, nodes.Name)}
    read = (
        meta.find_undeclared_variables(tree) - _OURS - environment.globals.keys() - (own - tested)
    )
    return {name for name in read if not name.endswith("_token")}


def _to_json(value: Any, **options: Any) -> str:
    return json.dumps(value, **({"ensure_ascii": False} | options))


def _refuse(message: str) -> None:
    raise TemplateError(message)
