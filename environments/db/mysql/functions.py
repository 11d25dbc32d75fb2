"""MySQL's functions by their names, and SQLite's own that agree with them."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable
from typing import Any

from agentlm.environments.db.mysql import dates, numbers, patterns, texts
from agentlm.environments.db.mysql.aggregates import DEVIATIONS, GroupConcat, deviation
from agentlm.environments.db.mysql.values import (
    Value,
    as_number,
    collate,
    compare,
    is_numeric,
)

PREFIX = "my_"


def _elt(index: Value, *values: Value) -> Value:
    number = as_number(index)
    if number is None or not 1 <= number <= len(values):
        return None
    return values[int(number) - 1]


def _extreme(sign: int) -> Callable[..., Value]:
    def found(*values: Value) -> Value:
        if any(value is None for value in values):
            return None
        if any(isinstance(value, int | float) for value in values):
            amounts = [as_number(value) or 0 for value in values]
            return max(amounts) if sign > 0 else min(amounts)
        best = values[0]
        for value in values[1:]:
            if sign * (compare(value, best) or 0) > 0:
                best = value
        return best

    return found


NUMBERS: dict[str, Callable[..., Any]] = {
    **texts.NUMBERS,
    **patterns.NUMBERS,
    **numbers.NUMBERS,
    **dates.NUMBERS,
    "COMPARE": compare,
    "ISNULL": lambda value: int(value is None),
}
"""Functions that give a number."""

TEXTS: dict[str, Callable[..., Any]] = {
    **texts.TEXTS,
    **patterns.TEXTS,
    **numbers.TEXTS,
    **dates.TEXTS,
    "UUID": lambda: str(uuid.uuid4()),
    "DATABASE": lambda: DATABASE,
    "VERSION": lambda: "8.0.36",
    "USER": lambda: "root@localhost",
    "CAST_DATE": dates.TEXTS["DATE"],
    "CAST_DATETIME": dates.TEXTS["TIMESTAMP"],
    "CAST_TIME": dates.TEXTS["TIME"],
}
"""Functions that give text."""
DATABASE = "dbbench"

OTHERS: dict[str, Callable[..., Any]] = {
    "ELT": _elt,
    "GREATEST": _extreme(1),
    "LEAST": _extreme(-1),
    "NULLIF": lambda a, b: None if compare(a, b) == 0 else a,
}
"""Functions whose result is one of their arguments."""

_SAME = {
    "CHAR_LENGTH": ("CHARACTER_LENGTH",),
    "LENGTH": ("OCTET_LENGTH",),
    "SUBSTRING": ("SUBSTR", "MID"),
    "LOWER": ("LCASE",),
    "UPPER": ("UCASE",),
    "LOCATE": ("POSITION",),
    "CEIL": ("CEILING",),
    "POW": ("POWER",),
    "SHA1": ("SHA",),
    "DATABASE": ("SCHEMA",),
    "USER": ("CURRENT_USER", "SESSION_USER", "SYSTEM_USER"),
}
for _kinds in (NUMBERS, TEXTS):
    _kinds |= {n: _kinds[name] for name, same in _SAME.items() if name in _kinds for n in same}

AGGREGATES = {"COUNT", "SUM", "AVG", "MIN", "MAX"}
"""SQLite's own, which agree with MySQL's."""
WINDOWS = {
    *("ROW_NUMBER", "RANK", "DENSE_RANK", "PERCENT_RANK", "CUME_DIST", "NTILE", "LAG", "LEAD"),
    *("FIRST_VALUE", "LAST_VALUE", "NTH_VALUE"),
}
NATIVE = {*AGGREGATES, *WINDOWS, "COALESCE", "IFNULL"}
_UNPREDICTABLE = {"RAND", "UUID"}


class TruncatedError(Exception):
    """A statement that changes data uses a text that is no number as one."""


def strict_compare(a: Value, b: Value) -> int | None:
    """Compare as statements do that change data. Raises TruncatedError."""
    for one, other in ((a, b), (b, a)):
        if isinstance(one, str) and isinstance(other, int | float) and not is_numeric(one):
            raise TruncatedError(f"Truncated incorrect DOUBLE value: '{one}'")
    return compare(a, b)


def strict_number(value: Value) -> float | int | None:
    """A number, for statements that change data. Raises TruncatedError."""
    if isinstance(value, str) and not is_numeric(value):
        raise TruncatedError(f"Truncated incorrect DOUBLE value: '{value}'")
    return as_number(value)


def add_functions(
    connection: sqlite3.Connection,
    complain: Callable[[Exception], None],
    overdue: Callable[[], bool],
) -> None:
    """Give a connection MySQL's functions and its order of texts.

    `complain` gets the error that a function raised, since SQLite only reports that one did. Each
    call asks whether the statement is `overdue`: SQLite asks only between its own steps, and a call
    is within one step.
    """

    def with_reason(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*values: Any) -> Any:
            try:
                if overdue():
                    raise TimeoutError
                return function(*values)
            except TypeError as error:
                complain(TypeError(f"Incorrect parameter count in the call to '{name}'"))
                raise error
            except Exception as error:
                complain(error)
                raise

        return called

    for name, function in {**NUMBERS, **TEXTS, **OTHERS}.items():
        connection.create_function(
            PREFIX + name.lower(),
            -1,
            with_reason(name, function),
            deterministic=name not in _UNPREDICTABLE,
        )
    connection.create_function(PREFIX + "strict_compare", 2, with_reason("=", strict_compare))
    connection.create_function(PREFIX + "strict_number", 1, with_reason("+", strict_number))
    connection.create_aggregate(PREFIX + "group_concat", -1, GroupConcat)  # type: ignore[arg-type]
    for name, measure in DEVIATIONS.items():
        connection.create_aggregate(PREFIX + name.lower(), 1, deviation(measure))
    connection.create_collation("mysql", collate)
