"""AgentBench's ways of comparing an answer with the right one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

Comparison = Literal["integer", "string", "size", "containing", "in", "regex"]

_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE = re.compile(r"([\d.]+)\s*([bkmgt]?)i?b?", re.IGNORECASE)


def agrees(answer: str, expected: str, how: Comparison) -> bool:
    """Whether `answer` is right. An empty one never is, nor what only looks like a number."""
    value = answer.strip().strip("\"'`").strip()
    try:
        return bool(value) and _COMPARE[how](value, expected.strip())
    except ValueError:
        return False


def equals(answer: str, expected: str, how: Comparison) -> bool:
    """AgentBench's own comparators, to the letter: a sentence is no integer, and 4.0K no size."""
    try:
        return _EXACT[how](answer, expected)
    except ValueError:
        return False


def _integer(answer: str, expected: str) -> bool:
    """The one number in the answer."""
    numbers = re.findall(r"-?\d+", answer)
    wanted = re.findall(r"-?\d+", expected)
    return len(numbers) == 1 and bool(wanted) and int(numbers[0]) == int(wanted[-1])


def _size(answer: str, expected: str) -> bool:
    """Sizes as `du -h` writes them: 4.0K is 4 KiB is 4096."""
    a, b = _SIZE.fullmatch(answer), _SIZE.fullmatch(expected)
    return a is not None and b is not None and _bytes(a) == _bytes(b)


def _bytes(size: re.Match[str]) -> float:
    return float(size[1]) * _UNITS[size[2].lower()]


_COMPARE: dict[Comparison, Callable[[str, str], bool]] = {
    "integer": _integer,
    "string": lambda answer, expected: answer == expected,
    "size": _size,
    "containing": lambda answer, expected: expected in answer,
    "in": lambda answer, expected: answer in expected,
    "regex": lambda answer, expected: re.search(expected, answer) is not None,
}

_EXACT_UNITS: dict[str, int] = {
    name: 1 << 10 * power
    for power, names in enumerate(("B Byte", "K KB", "M MB", "G GB", "T TB", "P PB"))
    for name in names.split()
}


def _exact_size(text: str) -> int:
    text = text.strip()
    for unit, factor in _EXACT_UNITS.items():
        if text.endswith(unit):
            return int(text[: -len(unit)]) * factor
    return int(text)


def _text(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


_EXACT: dict[Comparison, Callable[[str, str], bool]] = {
    "integer": lambda answer, expected: int(answer) == int(expected),
    "string": lambda answer, expected: _text(answer) == _text(expected),
    "size": lambda answer, expected: _exact_size(answer) == _exact_size(expected),
    "containing": lambda answer, expected: _text(expected) in _text(answer),
    "in": lambda answer, expected: _text(answer) in _text(expected),
}
