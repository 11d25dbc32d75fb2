"""Aggregates that SQLite lacks."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import cmp_to_key

from agentlm.environments.db.mysql.values import Value, as_number, as_text, compare, folded

GROUP_CONCAT_CHARS = 1024
"""MySQL cuts a longer result, unless its operator sets another limit."""

DEVIATIONS = {
    "STD": statistics.pstdev,
    "STDDEV": statistics.pstdev,
    "STDDEV_POP": statistics.pstdev,
    "STDDEV_SAMP": statistics.stdev,
    "VARIANCE": statistics.pvariance,
    "VAR_POP": statistics.pvariance,
    "VAR_SAMP": statistics.variance,
}


class GroupConcat:
    """GROUP_CONCAT(value, separator, is distinct, descending?, key, descending?, key, …)."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, tuple[Value, ...], tuple[Value, ...]]] = []
        self._separator = ","
        self._distinct = False

    def step(self, value: Value, separator: str, distinct: int, *order: Value) -> None:
        self._separator, self._distinct = separator, bool(distinct)
        text = as_text(value)
        if text is not None:
            self._rows.append((text[:GROUP_CONCAT_CHARS], order[::2], order[1::2]))

    def finalize(self) -> str | None:
        rows = sorted(self._rows, key=cmp_to_key(_in_order))
        texts = [text for text, _, _ in rows]
        if self._distinct:
            texts = list({folded(text): text for text in reversed(texts)}.values())[::-1]
        return self._separator.join(texts)[:GROUP_CONCAT_CHARS] if texts else None


def _in_order(
    a: tuple[str, tuple[Value, ...], tuple[Value, ...]],
    b: tuple[str, tuple[Value, ...], tuple[Value, ...]],
) -> int:
    for descending, x, y in zip(a[1], a[2], b[2], strict=True):
        order = (x is not None) - (y is not None) or (compare(x, y) or 0)
        if order:
            return -order if descending else order
    return 0


def deviation(measure: Callable[[Sequence[float]], float]) -> type:
    """An aggregate of the numbers of a column."""

    class Deviation:
        def __init__(self) -> None:
            self._numbers: list[float] = []

        def step(self, value: Value) -> None:
            number = as_number(value)
            if number is not None:
                self._numbers.append(float(number))

        def finalize(self) -> float | None:
            try:
                return measure(self._numbers)
            except statistics.StatisticsError:
                return None

    return Deviation
