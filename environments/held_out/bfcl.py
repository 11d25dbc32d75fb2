"""BFCL v4: one question, one call of the functions that come with it, or none where none fits. By
Patil, Mao and others at Berkeley (Apache-2.0; data and judge from the package `bfcl-eval`).

It has the parts that one call answers: Python's simple and multiple functions, and the same by
users; and irrelevance, where any call is wrong. Left out: parallel calls (a turn has one call
here), Java and JavaScript, several turns, memory and web search. Dots in names become `_`, as BFCL
does for servers of OpenAI's kind.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any

from agentlm.environments.adapters.loading import folder_of, needed
from agentlm.environments.adapters.world import Problem, World
from agentlm.environments.held_out.splits import held_out
from agentlm.environments.task import Action, Move, Split
from agentlm.messages import ToolSpec

NAME = "bfcl"
INSTALL = "pip install --no-deps bfcl-eval==2026.3.23"
"""Its pins clash with ours, so that it can't be one of our dependencies."""
_PARTS = ("simple_python", "multiple", "live_simple", "live_multiple")
_IRRELEVANT = ("irrelevance", "live_irrelevance")
_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}


def world_of(_: str) -> type[World]:
    """The questions. Raises OperatorError if the package is missing."""
    members = {"data": folder_of("bfcl_eval", INSTALL) / "data", "checker": staticmethod(_judge())}
    return type("Bfcl", (_Call,), {**members, "__doc__": _Call.__doc__})


class _Call(World):
    """Call the function that does what is asked, once. If none fits, say so without a call."""

    max_turns = 1
    data: Path
    checker: Callable[..., dict[str, Any]]

    @classmethod
    def tasks(cls, split: Split, seed: int) -> Iterator[Problem]:
        """A question of each part in turn, until none has any left."""
        held_out(NAME, split, "test")
        left = {part: list(_rows(cls.data, part)) for part in (*_PARTS, *_IRRELEVANT)}
        for rows in left.values():
            Random(seed).shuffle(rows)
        while left := {part: rows for part, rows in left.items() if rows}:
            for part, rows in left.items():
                yield _problem(part, rows.pop())

    @classmethod
    def specs_of(cls, parameters: dict[str, Any]) -> tuple[ToolSpec, ...]:
        """The functions that come with the question."""
        return tuple(
            ToolSpec(
                name=_plain(function["name"]),
                description=function["description"],
                parameters=json_schema(function["parameters"]),
            )
            for function in parameters["functions"]
        )

    def act(self, action: Action) -> str:
        """The call is what is judged: nothing is run."""
        self.over = True
        if (wanted := self.parameters["wanted"]) is not None:
            self.earned = float(self._is_right(action, wanted))
        return "noted"

    def refused(self) -> None:
        """A call that does not fit counts as a call all the same."""
        self.over = True

    def score(self, answer: str) -> float:
        """Without a call an answer is right if no function fits."""
        return float(self.parameters["wanted"] is None)

    def _is_right(self, action: Action, wanted: list[Any]) -> bool:
        functions, call = self.parameters["functions"], {action.name: action.arguments}
        kind = "multiple" if len(functions) > 1 else "simple"
        verdict = self.checker(functions, [call], wanted, _python(), kind, "any")
        return bool(verdict["valid"])


def json_schema(schema: Any) -> Any:
    """BFCL's type names as JSON schema's."""
    if isinstance(schema, list):
        return [json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _TYPES.get(value, value)
        if key == "type" and isinstance(value, str)
        else json_schema(value)
        for key, value in schema.items()
    }


def irrelevant(data: Path) -> list[dict[str, Any]]:
    """Questions that none of their functions fits."""
    return list(_lines(data / "BFCL_v4_irrelevance.json"))


def _rows(data: Path, part: str) -> Iterator[dict[str, Any]]:
    file = f"BFCL_v4_{part}.json"
    wanted = {}
    if part in _PARTS:
        lines = _lines(data / "possible_answer" / file)
        wanted = {line["id"]: line["ground_truth"] for line in lines}
    for line in _lines(data / file):
        yield {**line, "wanted": wanted[line["id"]] if wanted else None}


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, file.read_text(encoding="utf-8").splitlines())


def _problem(part: str, row: dict[str, Any]) -> Problem:
    asked = "\n\n".join(message["content"] for message in row["question"][0])
    parameters = {"id": row["id"], "functions": row["function"], "wanted": row["wanted"]}
    return Problem(asked, parameters, family=part, gold=tuple(_gold(row["wanted"])))


def _gold(wanted: list[dict[str, Any]] | None) -> Iterator[Move]:
    if wanted is None:
        yield Move(thought="None of them fits.", answer="No function fits.")
        return
    [(name, values)] = wanted[0].items()
    action = Action(name=_plain(name), arguments=_first(values))
    yield Move(thought="One call does it.", action=action)


def _first(values: dict[str, list[Any]]) -> dict[str, Any]:
    """One of the right values; an empty text means that the argument may be left out."""
    chosen = {key: next((v for v in each if v != ""), "") for key, each in values.items()}
    kept = {key: value for key, value in chosen.items() if "" not in values[key]}
    return {key: _nested(value) for key, value in kept.items()}


def _nested(value: Any) -> Any:
    if isinstance(value, dict):
        return _first(value)
    return [_nested(item) for item in value] if isinstance(value, list) else value


def _plain(name: str) -> str:
    return name.replace(".", "_")


@cache
def _judge() -> Callable[..., dict[str, Any]]:
    """BFCL's own judge. Its table of models imports thirty API clients only to say of each whether
    dots in names were replaced: a stand-in says yes.
    """
    table = ModuleType("bfcl_eval.constants.model_config")
    replaced = SimpleNamespace(underscore_to_dot=True)
    setattr(table, "MODEL_CONFIG_MAPPING", defaultdict(lambda: replaced))  # noqa: B010
    sys.modules.setdefault(table.__name__, table)
    module = needed("bfcl_eval.eval_checker.ast_eval.ast_checker", "bfcl-eval", INSTALL)
    checker: Callable[..., dict[str, Any]] = module.ast_checker
    return checker


def _python() -> Any:
    return needed("bfcl_eval.constants.enums", "bfcl-eval", INSTALL).Language.PYTHON
