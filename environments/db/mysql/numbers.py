"""MySQL's functions of numbers: sums, roundings, casts."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from agentlm.environments.db.mysql.texts import on_texts
from agentlm.environments.db.mysql.values import Value, as_number, rounded


def on_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers: NULL if one of them is, or if there is no result."""

    def called(*values: Value) -> Any:
        numbers = [as_number(value) for value in values]
        if None in numbers:
            return None
        try:
            return function(*numbers)
        except (ValueError, ZeroDivisionError, OverflowError):
            return None

    return called


def _round_double(number: float, digits: float = 0) -> float | int:
    """As doubles are rounded: halves to the even neighbour, once scaled."""
    places = int(digits)
    if places < 0:
        return round(number / 10.0**-places) * 10.0**-places
    scaled = number * 10.0**places
    return round(scaled) / 10.0**places if places and math.isfinite(scaled) else round(number)


def _truncate_double(number: float, places: int) -> float:
    if places < 0:
        return math.trunc(number / 10.0**-places) * 10.0**-places
    return math.trunc(number * 10.0**places) / 10.0**places


def _format(
    value: Value, digits: Value = 0, *_: Value, round_: Callable[..., Any] = rounded
) -> str | None:
    number, places = as_number(value), as_number(digits)
    if number is None or places is None:
        return None
    places = max(0, min(30, int(places)))
    return f"{round_(number, places):,.{places}f}"


def _truncated(number: float, digits: float = 0) -> float | int:
    places = int(digits)
    factor = 10.0 ** abs(places)
    if places < 0:
        return int(math.trunc(number / factor) * factor)
    # 1.15 * 100 is 114.99…: what is printed decides, not what is stored.
    whole, _, fraction = f"{number:.15g}".partition(".")
    if "e" in whole + fraction:
        return math.trunc(number * factor) / factor
    return float(f"{whole}.{fraction[:places] or '0'}") if places else int(whole)


def _divided(a: float, b: float) -> int:
    return math.trunc(a / b)


def _remainder(a: float, b: float) -> float | int:
    if isinstance(a, int) and isinstance(b, int):
        return a - b * math.trunc(a / b) if abs(a) < 2**53 else int(math.fmod(a, b))
    return rounded(math.fmod(a, b), 10) or 0.0


def _logarithm(a: float, b: float | None = None) -> float:
    return math.log(a) if b is None else math.log(b) / math.log(a)


def _cast_signed(value: Value) -> int | None:
    number = as_number(value)
    if number is None:
        return None
    return math.trunc(number) if isinstance(value, str) else int(rounded(number) or 0)


def _cast_unsigned(value: Value) -> int | None:
    number = _cast_signed(value)
    return None if number is None else number


def _cast_decimal(value: Value, digits: Value = 10, places: Value = 0) -> float | int | None:
    return rounded(value, places)


def _xor(a: float, b: float) -> int:
    return int(bool(a) != bool(b))


NUMBERS: dict[str, Callable[..., Any]] = {
    "ROUND": rounded,
    "TRUNCATE": on_numbers(_truncated),
    "ROUND_DOUBLE": on_numbers(_round_double),
    "TRUNCATE_DOUBLE": on_numbers(lambda number, places: _truncate_double(number, int(places))),
    "FLOOR": on_numbers(math.floor),
    "CEIL": on_numbers(math.ceil),
    "ABS": on_numbers(abs),
    "SIGN": on_numbers(lambda number: (number > 0) - (number < 0)),
    "MOD": on_numbers(_remainder),
    "DIV": on_numbers(_divided),
    "POW": on_numbers(lambda a, b: float(a) ** b),
    "SQRT": on_numbers(math.sqrt),
    "EXP": on_numbers(math.exp),
    "LN": on_numbers(math.log),
    "LOG": on_numbers(_logarithm),
    "LOG10": on_numbers(math.log10),
    "LOG2": on_numbers(math.log2),
    "PI": lambda: math.pi,
    "DEGREES": on_numbers(math.degrees),
    "RADIANS": on_numbers(math.radians),
    "RAND": lambda *_: random.random(),
    "XOR": on_numbers(_xor),
    "NUMBER": as_number,
    "CAST_SIGNED": _cast_signed,
    "CAST_UNSIGNED": _cast_unsigned,
    "CAST_DECIMAL": _cast_decimal,
    "CAST_DOUBLE": lambda value: None if value is None else float(as_number(value) or 0),
    **{name: on_numbers(getattr(math, name.lower())) for name in ("SIN", "COS", "TAN", "ATAN")},
}
TEXTS: dict[str, Callable[..., Any]] = {
    "FORMAT": _format,
    "FORMAT_DOUBLE": lambda value, *options: _format(value, *options, round_=_round_double),
    "HEX": lambda v: f"{v:X}" if isinstance(v, int) else on_texts(lambda t: t.encode().hex())(v),
    "BIN": on_numbers(lambda number: f"{int(number):b}"),
}
