"""MySQL's functions of text and numbers, and the aggregates that SQLite lacks."""

from __future__ import annotations

import hashlib
import math
import random
import re
import sqlite3
import statistics
import uuid
from collections.abc import Callable, Sequence
from functools import cmp_to_key, lru_cache
from typing import Any

from agentlm.environments.db.mysql import dates
from agentlm.environments.db.mysql.values import (
    Value,
    as_number,
    as_text,
    collate,
    compare,
    folded,
    is_numeric,
    rounded,
)

PREFIX = "my_"
_MAX_CHARS = 1_000_000


def _on_texts(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of texts; NULL if one of them is."""

    def called(*values: Value) -> Any:
        texts = [as_text(value) for value in values]
        return None if None in texts else function(*texts)

    return called


def _on_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of numbers; NULL if one of them is, or where there is no result."""

    def called(*values: Value) -> Any:
        numbers = [as_number(value) for value in values]
        if None in numbers:
            return None
        try:
            return function(*numbers)
        except (ValueError, ZeroDivisionError, OverflowError):
            return None

    return called


def _whole(text: str) -> int:
    return int(rounded(text) or 0)


def _substring(text: str, start: str, length: str | None = None) -> str:
    begin = _whole(start)
    if begin == 0 or abs(begin) > len(text):
        return ""
    rest = text[begin - 1 if begin > 0 else len(text) + begin :]
    return rest if length is None else rest[: max(0, _whole(length))]


def _padded(text: str, length: str, filler: str, *, left: bool) -> str | None:
    size = _whole(length)
    if size < 0 or size > _MAX_CHARS:
        return None
    if size <= len(text):
        return text[:size]
    if not filler:
        return ""
    added = (filler * size)[: size - len(text)]
    return added + text if left else text + added


def _substring_index(text: str, delimiter: str, count: str) -> str:
    number = _whole(count)
    if not delimiter or not number:
        return ""
    parts = text.split(delimiter)
    return delimiter.join(parts[:number] if number > 0 else parts[number:])


def _locate(part: str, text: str, start: str = "1") -> int:
    begin = _whole(start)
    return folded(text).find(folded(part), begin - 1) + 1 if begin > 0 else 0


def _trimmed(text: str, chars: str = " ", where: str = "BOTH") -> str:
    while chars and where != "TRAILING" and text.startswith(chars):
        text = text[len(chars) :]
    while chars and where != "LEADING" and text.endswith(chars):
        text = text[: -len(chars)]
    return text


def _inserted(text: str, start: str, length: str, new: str) -> str:
    begin, size = _whole(start), _whole(length)
    if not 1 <= begin <= len(text):
        return text
    end = len(text) if size < 0 else begin - 1 + size
    return text[: begin - 1] + new + text[end:]


def _repeated(text: str, count: str) -> str | None:
    times = max(0, _whole(count))
    return text * times if times * max(1, len(text)) <= _MAX_CHARS else None


@lru_cache(maxsize=256)
def _pattern(pattern: str, flags: str = "i") -> re.Pattern[str] | None:
    """ICU's expressions are nearly Python's; POSIX classes are spelt out."""
    for name, chars in _CLASSES.items():
        pattern = pattern.replace(f"[:{name}:]", chars)
    options = re.NOFLAG if "c" in flags else re.IGNORECASE
    options |= re.MULTILINE if "m" in flags else re.NOFLAG
    try:
        return re.compile(pattern, options | (re.DOTALL if "n" in flags else re.NOFLAG))
    except re.error:
        return None


_CLASSES = {
    "digit": "0-9",
    "alpha": "A-Za-z",
    "alnum": "A-Za-z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "punct": r"!-/:-@\[-`{-~",
}


def _matches(text: str, pattern: str, flags: str = "i") -> int | None:
    compiled = _pattern(pattern, flags)
    return None if compiled is None else int(compiled.search(text) is not None)


def _regexp_replace(
    text: str, pattern: str, new: str, start: str = "1", which: str = "0", flags: str = "i"
) -> str | None:
    compiled, begin, number = _pattern(pattern, flags), _whole(start) - 1, _whole(which)
    if compiled is None:
        return None
    template = re.sub(r"\$(\d)", r"\\g<\1>", new.replace("\\", "\\\\"))
    head, tail = text[:begin], text[begin:]
    if number == 0:
        return head + compiled.sub(template, tail)
    for index, found in enumerate(compiled.finditer(tail), 1):
        if index == number:
            return head + tail[: found.start()] + found.expand(template) + tail[found.end() :]
    return text


def _regexp_found(
    text: str, pattern: str, start: str = "1", which: str = "1"
) -> re.Match[str] | None:
    compiled, begin, number = _pattern(pattern), _whole(start) - 1, _whole(which)
    found = compiled.finditer(text, begin) if compiled else iter(())
    return next((match for index, match in enumerate(found, 1) if index == number), None)


def _regexp_substr(*arguments: str) -> str | None:
    found = _regexp_found(*arguments)
    return found[0] if found else None


def _regexp_instr(*arguments: str) -> int:
    found = _regexp_found(*arguments)
    return found.start() + 1 if found else 0


@lru_cache(maxsize=256)
def _like_pattern(pattern: str, escape: str) -> re.Pattern[str]:
    parts, index = [], 0
    while index < len(pattern):
        char = pattern[index]
        if char == escape and index + 1 < len(pattern):
            index += 1
            parts.append(re.escape(folded(pattern[index])))
        else:
            parts.append({"%": ".*", "_": "."}.get(char) or re.escape(folded(char)))
        index += 1
    return re.compile("".join(parts), re.DOTALL)


def _like(text: str, pattern: str, escape: str = "\\") -> int:
    return int(_like_pattern(pattern, escape).fullmatch(folded(text)) is not None)


def _concat_ws(separator: Value, *values: Value) -> str | None:
    joint = as_text(separator)
    texts = [text for text in map(as_text, values) if text is not None]
    return None if joint is None else joint.join(texts)


def _field(value: Value, *values: Value) -> int:
    found = (index for index, other in enumerate(values, 1) if compare(value, other) == 0)
    return next(found, 0)


def _upper(char: str) -> str:
    capital = char.upper()
    return capital if len(capital) == 1 else char


def _elt(index: Value, *values: Value) -> Value:
    number = as_number(index)
    if number is None or not 1 <= number <= len(values):
        return None
    return values[int(number) - 1]


def _find_in_set(text: str, listed: str) -> int:
    return _field(text, *listed.split(",")) if listed else 0


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


def _extreme(sign: int) -> Callable[..., Value]:
    def found(*values: Value) -> Value:
        if any(value is None for value in values):
            return None
        if any(isinstance(value, int | float) for value in values):
            numbers = [as_number(value) or 0 for value in values]
            return max(numbers) if sign > 0 else min(numbers)
        best = values[0]
        for value in values[1:]:
            if sign * (compare(value, best) or 0) > 0:
                best = value
        return best

    return found


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


def _cast_char(value: Value, length: Value = None) -> str | None:
    text = as_text(value)
    size = as_number(length)
    return text if text is None or size is None else text[: int(size)]


def _xor(a: float, b: float) -> int:
    return int(bool(a) != bool(b))


def _digest(name: str) -> Callable[..., Any]:
    return _on_texts(lambda text, *_: hashlib.new(name, text.encode()).hexdigest())


NUMBERS: dict[str, Callable[..., Any]] = {
    **dates.NUMBERS,
    "LENGTH": _on_texts(lambda text: len(text.encode())),
    "CHAR_LENGTH": _on_texts(len),
    "LOCATE": _on_texts(_locate),
    "INSTR": _on_texts(lambda text, part: _locate(part, text)),
    "ASCII": _on_texts(lambda text: text.encode()[0] if text else 0),
    "ORD": _on_texts(lambda text: int.from_bytes(text[:1].encode() or b"\0", "big")),
    "STRCMP": lambda a, b: compare(as_text(a), as_text(b)),
    "FIELD": _field,
    "FIND_IN_SET": _on_texts(_find_in_set),
    "REGEXP_LIKE": _on_texts(_matches),
    "REGEXP_INSTR": _on_texts(_regexp_instr),
    "LIKE": _on_texts(_like),
    "COMPARE": compare,
    "ISNULL": lambda value: int(value is None),
    "ROUND": rounded,
    "TRUNCATE": _on_numbers(_truncated),
    "ROUND_DOUBLE": _on_numbers(_round_double),
    "TRUNCATE_DOUBLE": _on_numbers(lambda number, places: _truncate_double(number, int(places))),
    "FLOOR": _on_numbers(math.floor),
    "CEIL": _on_numbers(math.ceil),
    "ABS": _on_numbers(abs),
    "SIGN": _on_numbers(lambda number: (number > 0) - (number < 0)),
    "MOD": _on_numbers(_remainder),
    "DIV": _on_numbers(_divided),
    "POW": _on_numbers(lambda a, b: float(a) ** b),
    "SQRT": _on_numbers(math.sqrt),
    "EXP": _on_numbers(math.exp),
    "LN": _on_numbers(math.log),
    "LOG": _on_numbers(_logarithm),
    "LOG10": _on_numbers(math.log10),
    "LOG2": _on_numbers(math.log2),
    "PI": lambda: math.pi,
    "DEGREES": _on_numbers(math.degrees),
    "RADIANS": _on_numbers(math.radians),
    **{name: _on_numbers(getattr(math, name.lower())) for name in ("SIN", "COS", "TAN", "ATAN")},
    "RAND": lambda *_: random.random(),
    "XOR": _on_numbers(_xor),
    "NUMBER": as_number,
    "CAST_SIGNED": _cast_signed,
    "CAST_UNSIGNED": _cast_unsigned,
    "CAST_DECIMAL": _cast_decimal,
    "CAST_DOUBLE": lambda value: None if value is None else float(as_number(value) or 0),
}
"""Functions that give a number."""

TEXTS: dict[str, Callable[..., Any]] = {
    **dates.TEXTS,
    "CONCAT": _on_texts(lambda *texts: "".join(texts)),
    "CONCAT_WS": _concat_ws,
    "SUBSTRING": _on_texts(_substring),
    "SUBSTRING_INDEX": _on_texts(_substring_index),
    "LEFT": _on_texts(lambda text, count: text[: max(0, _whole(count))]),
    "RIGHT": _on_texts(lambda text, n: text[len(text) - min(len(text), max(0, _whole(n))) :]),
    "LPAD": _on_texts(lambda text, size, fill: _padded(text, size, fill, left=True)),
    "RPAD": _on_texts(lambda text, size, fill: _padded(text, size, fill, left=False)),
    "TRIM": _on_texts(_trimmed),
    "LTRIM": _on_texts(lambda text: text.lstrip(" ")),
    "RTRIM": _on_texts(lambda text: text.rstrip(" ")),
    "UPPER": _on_texts(lambda text: "".join(map(_upper, text))),
    "LOWER": _on_texts(str.lower),
    "REVERSE": _on_texts(lambda text: text[::-1]),
    "REPEAT": _on_texts(_repeated),
    "SPACE": _on_texts(lambda count: _repeated(" ", count)),
    "REPLACE": _on_texts(lambda text, old, new: text.replace(old, new) if old else text),
    "INSERT": _on_texts(_inserted),
    "REGEXP_REPLACE": _on_texts(_regexp_replace),
    "REGEXP_SUBSTR": _on_texts(_regexp_substr),
    "FORMAT": _format,
    "FORMAT_DOUBLE": lambda value, *options: _format(value, *options, round_=_round_double),
    "CHAR": lambda *codes: "".join(chr(int(as_number(c) or 0) & 0x10FF) for c in codes),
    "HEX": lambda v: f"{v:X}" if isinstance(v, int) else _on_texts(lambda t: t.encode().hex())(v),
    "BIN": _on_numbers(lambda number: f"{int(number):b}"),
    "QUOTE": _on_texts(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    "MD5": _digest("md5"),
    "SHA1": _digest("sha1"),
    "UUID": lambda: str(uuid.uuid4()),
    "DATABASE": lambda: DATABASE,
    "VERSION": lambda: "8.0.36",
    "USER": lambda: "root@localhost",
    "CAST_CHAR": _cast_char,
    "TEXT": as_text,
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
"""Functions that give what they are given."""

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
DEVIATIONS = {
    "STD": statistics.pstdev,
    "STDDEV": statistics.pstdev,
    "STDDEV_POP": statistics.pstdev,
    "STDDEV_SAMP": statistics.stdev,
    "VARIANCE": statistics.pvariance,
    "VAR_POP": statistics.pvariance,
    "VAR_SAMP": statistics.variance,
}
WINDOWS = {
    *("ROW_NUMBER", "RANK", "DENSE_RANK", "PERCENT_RANK", "CUME_DIST", "NTILE", "LAG", "LEAD"),
    *("FIRST_VALUE", "LAST_VALUE", "NTH_VALUE"),
}
NATIVE = {*AGGREGATES, *WINDOWS, "COALESCE", "IFNULL"}
_UNPREDICTABLE = {"RAND", "UUID"}


class _GroupConcat:
    """GROUP_CONCAT(value, separator, is distinct, descending?, key, descending?, key, …)."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, tuple[Value, ...], tuple[Value, ...]]] = []
        self._separator = ","
        self._distinct = False

    def step(self, value: Value, separator: str, distinct: int, *order: Value) -> None:
        self._separator, self._distinct = separator, bool(distinct)
        text = as_text(value)
        if text is not None:
            self._rows.append((text, order[::2], order[1::2]))

    def finalize(self) -> str | None:
        rows = sorted(self._rows, key=cmp_to_key(_in_order))
        texts = [text for text, _, _ in rows]
        if self._distinct:
            texts = list({folded(text): text for text in reversed(texts)}.values())[::-1]
        return self._separator.join(texts) if texts else None


def _in_order(
    a: tuple[str, tuple[Value, ...], tuple[Value, ...]],
    b: tuple[str, tuple[Value, ...], tuple[Value, ...]],
) -> int:
    for descending, x, y in zip(a[1], a[2], b[2], strict=True):
        order = (x is not None) - (y is not None) or (compare(x, y) or 0)
        if order:
            return -order if descending else order
    return 0


def _deviation(measure: Callable[[Sequence[float]], float]) -> type:
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


class TruncatedError(Exception):
    """A text that is no number beside a number, where data is changed."""


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


def add_functions(connection: sqlite3.Connection, complain: Callable[[Exception], None]) -> None:
    """Give a connection MySQL's functions and its order of texts.

    `complain` is told what a function raised: SQLite only says that one did.
    """

    def told(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*values: Any) -> Any:
            try:
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
            told(name, function),
            deterministic=name not in _UNPREDICTABLE,
        )
    connection.create_function(PREFIX + "strict_compare", 2, told("=", strict_compare))
    connection.create_function(PREFIX + "strict_number", 1, told("+", strict_number))
    connection.create_aggregate(PREFIX + "group_concat", -1, _GroupConcat)  # type: ignore[arg-type]
    for name, measure in DEVIATIONS.items():
        connection.create_aggregate(PREFIX + name.lower(), 1, _deviation(measure))
    connection.create_collation("mysql", collate)
