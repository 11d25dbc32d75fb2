"""AgentBench's own comparison of answers, flaws included: values are cleaned, then compared.

A percent sign and the commas of a number are dropped; null, nan, infinity and nothing are all `0`;
numbers may differ by 0.01. Several numbers are paired one by one, other values compared as a set.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TypeGuard

from agentlm.environments.db.scoring import UNREADABLE

_TOLERANCE = 1e-2
_NOTHING = {"none", "null", "undefined", "nan", "inf", "infinity", "-inf", "-infinity", ""}


def answers_match(answer: str, label: Sequence[object]) -> bool:
    """Whether AgentBench counts a final answer as right."""
    values, wanted = _cleaned(answer), [_plain(value) for value in label]
    if values is None:
        return False
    if len(values) == len(wanted) == 1:
        return _same(values[0], wanted[0])
    numbers = [_number(value) for value in (*values, *wanted)]
    if None not in numbers:
        return len(values) == len(wanted) and _paired(values, wanted)
    return set(values) == set(wanted)


def _cleaned(answer: str) -> list[str] | None:
    """The values of an answer; None for one that can't be read."""
    text = answer.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return [_plain(text)]
    try:
        values = ast.literal_eval(text)
        return _values(values, answer) if isinstance(values, list) else None
    except UNREADABLE:
        return [_plain(value) for value in _split(text[1:-1])]


def _values(values: list[object], answer: str) -> list[str]:
    if answer.startswith("[") and all(isinstance(value, tuple) for value in values):
        values = [value for value in values if _is_row(value)]  # rows as a driver returns them
    return [_plain(value[0] if _is_row(value) else value) for value in values]


def _is_row(value: object) -> TypeGuard[tuple[object]]:
    return isinstance(value, tuple) and len(value) == 1


def _split(text: str) -> Iterator[str]:
    """The parts between commas that are not in quotes of either kind."""
    current, quoted = "", False
    for char in text:
        if char in "\"'":
            quoted = not quoted
        elif char == "," and not quoted:
            if current:
                yield current
            current = ""
        else:
            current += char
    if current:
        yield current


def _plain(value: object) -> str:
    text = str(value).strip().strip("'\"").strip()
    if text.endswith("%"):
        return text[:-1].strip()
    if not (text.startswith("[") or text.endswith("]")):
        text = text.replace(",", "")
    return "0" if text.lower() in _NOTHING else text


def _same(a: str, b: str) -> bool:
    x, y = _number(a), _number(b)
    if x is None or y is None:
        return a == b
    return abs(x - y) <= _TOLERANCE


def _paired(values: list[str], wanted: list[str]) -> bool:
    """Each number takes the first one left that is near enough."""
    left = list(wanted)
    for value in values:
        partner = next((other for other in left if _same(value, other)), None)
        if partner is None:
            return False
        left.remove(partner)
    return True


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
