"""This wire's words for what chat calls otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from agentlm.errors import RequestError

_SPELT = (
    (re.compile(r"\bmessages\b(\[\d+\](\.\w+)?)?"), "input"),
    (re.compile(r"\bresponse_format(\.json_schema)?\b"), "text.format"),
    (re.compile(r"\breasoning_effort\b"), "reasoning.effort"),
    (re.compile(r"\bmax(_completion)?_tokens\b"), "max_output_tokens"),
    (
        re.compile(r"\btool_choice\.allowed_tools\.tools(\[\d+\])\.function\b"),
        r"tool_choice.tools\1",
    ),
    (re.compile(r"\btool_choice\.allowed_tools\b"), "tool_choice"),
    (re.compile(r"\b(tools\[\d+\]|tool_choice)\.function\b"), r"\1"),
)
"""Chat's fields, and their names on this wire."""


@contextmanager
def in_these_words() -> Iterator[None]:
    """Rename the fields in errors from below to this wire's names."""
    try:
        yield
    except RequestError as error:
        if error.param is not None:
            before, error.param = error.param, _respelt(error.param)
            if before != error.param:
                error.args = (_respelt(str(error)),)
        raise


def _respelt(text: str) -> str:
    for theirs, ours in _SPELT:
        text = theirs.sub(ours, text)
    return text
