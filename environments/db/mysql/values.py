"""How MySQL reads and compares values: numbers by their beginning, text whatever its case and
accents."""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache

Value = str | int | float | bytes | None

_NUMBER_PREFIX = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")
_FOLDED = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ı": "i"})
_EXACT_DIGITS = 2**53
_KEPT_CHARS = 200
"""Sort keys of longer texts would fill the memory if they were kept."""


def as_number(value: Value) -> float | int | None:
    """A value as a number: the longest numeric beginning, else 0."""
    if value is None or isinstance(value, int | float):
        return value
    prefix = _NUMBER_PREFIX.match(as_text(value) or "")
    if not prefix:
        return 0
    number = float(prefix[1])
    return int(number) if number.is_integer() and abs(number) < _EXACT_DIGITS else number


def is_numeric(text: str) -> bool:
    """Whether all of a text is a number: where data is changed, MySQL accepts no other text."""
    prefix = _NUMBER_PREFIX.match(text)
    return prefix is not None and not text[prefix.end() :].strip()


def as_text(value: Value) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_DIGITS:
        return str(int(value))
    return str(value)


def compare(a: Value, b: Value) -> int | None:
    """-1, 0 or 1; None beside NULL. A number beside a text makes a number of it."""
    if a is None or b is None:
        return None
    if isinstance(a, int | float) or isinstance(b, int | float):
        x, y = as_number(a) or 0, as_number(b) or 0
        return (x > y) - (x < y)
    return collate(as_text(a) or "", as_text(b) or "")


def collate(a: str, b: str) -> int:
    """The order of two texts."""
    x, y = (
        sort_key(text) if len(text) <= _KEPT_CHARS else sort_key.__wrapped__(text)
        for text in (a, b)
    )
    return (x > y) - (x < y)


@lru_cache(maxsize=65_536)
def sort_key(text: str) -> tuple[tuple[int, str], ...]:
    """Equal for texts that differ in case and accents only; spaces and signs come before digits,
    digits before letters."""
    return tuple((_rank(char), char) for char in folded(text))


def folded(text: str) -> str:
    """Text without case and accents."""
    if text.isascii():
        return text.lower()
    bare = unicodedata.normalize("NFKD", text.casefold()).translate(_FOLDED)
    return "".join(char for char in bare if not unicodedata.combining(char))


def _rank(char: str) -> int:
    if char.isascii() and char.isalnum():
        return 4 if char.isalpha() else 3
    return {"Z": 0, "C": 0, "P": 1, "S": 2, "N": 3}.get(unicodedata.category(char)[0], 4)


def rounded(value: Value, digits: Value = 0) -> float | int | None:
    """Halves away from zero, as decimals are rounded."""
    number, places = as_number(value), as_number(digits)
    if number is None or places is None or not math.isfinite(number):
        return None
    try:
        unit = Decimal(1).scaleb(-max(-30, min(30, int(places))))
        result = Decimal(repr(number)).quantize(unit, ROUND_HALF_UP)
    except InvalidOperation:
        return number
    return int(result) if isinstance(number, int) or places <= 0 else float(result)
