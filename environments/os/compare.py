"""AgentBench's ways of comparing an answer with the right one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

Comparison = Literal["integer", "string", "size", "containing", "in", "regex"]

_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE = re.compile(r"([\d.]+)\s*([bkmgt]?)i?b?", re.IGNORECASE)


def agrees(answer: str, expected: str, how: Comparison) -> bool:
    """Whether `answer` is right. An empty answer never is."""
    given = answer.strip().strip("\"'`").strip()
    return bool(given) and _COMPARE[how](given, expected.strip())


def _integer(given: str, expected: str) -> bool:
    """The one number in the answer."""
    numbers = re.findall(r"-?\d+", given)
    wanted = re.findall(r"-?\d+", expected)
    return len(numbers) == 1 and bool(wanted) and int(numbers[0]) == int(wanted[-1])


def _size(given: str, expected: str) -> bool:
    """Sizes as `du -h` writes them: 4.0K is 4 KiB is 4096."""
    a, b = _SIZE.fullmatch(given), _SIZE.fullmatch(expected)
    return a is not None and b is not None and _bytes(a) == _bytes(b)


def _bytes(size: re.Match[str]) -> float:
    return float(size[1]) * _UNITS[size[2].lower()]


_COMPARE: dict[Comparison, Callable[[str, str], bool]] = {
    "integer": _integer,
    "string": lambda given, expected: given == expected,
    "size": _size,
    "containing": lambda given, expected: expected in given,
    "in": lambda given, expected: given in expected,
    "regex": lambda given, expected: re.search(expected, given) is not None,
}
