"""AgentBench's rule for answers: one value as a number or as text, several as a set."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Sequence

UNREADABLE = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError)
"""What Python raises for a text that is no list: an answer must not look like a failure of ours."""


def parse_answer(text: str) -> list[str]:
    """The values of a final answer: a JSON or Python list, else the whole text as one value."""
    stripped = text.strip()
    opened, closed = stripped.find("["), stripped.rfind("]")
    listed = stripped[opened : closed + 1] if 0 <= opened < closed else ""
    for read in (json.loads, ast.literal_eval):
        try:
            return [_plain(value) for value in _flat(read(listed))]
        except UNREADABLE:
            continue
    return [_plain(stripped)] if stripped else []


def answers_match(answer: Sequence[str], label: Sequence[str]) -> bool:
    wanted = [_plain(value) for value in label]
    if len(wanted) == 1:
        return len(answer) == 1 and _same(answer[0], wanted[0])
    return {_key(value) for value in answer} == {_key(value) for value in wanted}


def _flat(values: object) -> list[object]:
    """Rows of one column come as lists or tuples of one: `[["a"], ["b"]]`."""
    if not isinstance(values, list | tuple):
        return [values]
    return [inner for value in values for inner in _flat(value)]


def _plain(value: object) -> str:
    return str(value).strip().strip("\"'`").strip()


def _same(value: str, wanted: str) -> bool:
    a, b = _number(value), _number(wanted)
    if a is not None and b is not None:
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)
    return value == wanted


def _key(value: str) -> str | float:
    number = _number(value)
    return value if number is None else number


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
