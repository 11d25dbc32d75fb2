"""MySQL's functions of text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from agentlm.environments.db.mysql.values import (
    Value,
    as_number,
    as_text,
    compare,
    folded,
    rounded,
)

MAX_CHARS = 1_000_000


def on_texts(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of texts: NULL if one of them is."""

    def called(*values: Value) -> Any:
        texts = [as_text(value) for value in values]
        return None if None in texts else function(*texts)

    return called


def whole(text: str) -> int:
    """A position or a length."""
    return int(rounded(text) or 0)


def _substring(text: str, start: str, length: str | None = None) -> str:
    begin = whole(start)
    if begin == 0 or abs(begin) > len(text):
        return ""
    rest = text[begin - 1 if begin > 0 else len(text) + begin :]
    return rest if length is None else rest[: max(0, whole(length))]


def _padded(text: str, length: str, filler: str, *, left: bool) -> str | None:
    size = whole(length)
    if size < 0 or size > MAX_CHARS:
        return None
    if size <= len(text):
        return text[:size]
    if not filler:
        return ""
    added = (filler * size)[: size - len(text)]
    return added + text if left else text + added


def _substring_index(text: str, delimiter: str, count: str) -> str:
    number = whole(count)
    if not delimiter or not number:
        return ""
    parts = text.split(delimiter)
    return delimiter.join(parts[:number] if number > 0 else parts[number:])


def _locate(part: str, text: str, start: str = "1") -> int:
    begin = whole(start)
    return folded(text).find(folded(part), begin - 1) + 1 if begin > 0 else 0


def _trimmed(text: str, chars: str = " ", where: str = "BOTH") -> str:
    while chars and where != "TRAILING" and text.startswith(chars):
        text = text[len(chars) :]
    while chars and where != "LEADING" and text.endswith(chars):
        text = text[: -len(chars)]
    return text


def _inserted(text: str, start: str, length: str, new: str) -> str:
    begin, size = whole(start), whole(length)
    if not 1 <= begin <= len(text):
        return text
    end = len(text) if size < 0 else begin - 1 + size
    return text[: begin - 1] + new + text[end:]


def _repeated(text: str, count: str) -> str | None:
    times = max(0, whole(count))
    return text * times if times * max(1, len(text)) <= MAX_CHARS else None


def _replaced(text: str, old: str, new: str) -> str | None:
    if not old:
        return text
    size = len(text) + text.count(old) * (len(new) - len(old))
    return text.replace(old, new) if size <= MAX_CHARS else None


def _concat_ws(separator: Value, *values: Value) -> str | None:
    joint = as_text(separator)
    texts = [text for text in map(as_text, values) if text is not None]
    return None if joint is None else joint.join(texts)


def _field(value: Value, *values: Value) -> int:
    places = (index for index, other in enumerate(values, 1) if compare(value, other) == 0)
    return next(places, 0)


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


def _cast_char(value: Value, length: Value = None) -> str | None:
    text = as_text(value)
    size = as_number(length)
    return text if text is None or size is None else text[: int(size)]


def _digest(name: str) -> Callable[..., Any]:
    return on_texts(lambda text, *_: hashlib.new(name, text.encode()).hexdigest())


NUMBERS: dict[str, Callable[..., Any]] = {
    "LENGTH": on_texts(lambda text: len(text.encode())),
    "CHAR_LENGTH": on_texts(len),
    "LOCATE": on_texts(_locate),
    "INSTR": on_texts(lambda text, part: _locate(part, text)),
    "ASCII": on_texts(lambda text: text.encode()[0] if text else 0),
    "ORD": on_texts(lambda text: int.from_bytes(text[:1].encode() or b"\0", "big")),
    "STRCMP": lambda a, b: compare(as_text(a), as_text(b)),
    "FIELD": _field,
    "FIND_IN_SET": on_texts(_find_in_set),
}

TEXTS: dict[str, Callable[..., Any]] = {
    "CONCAT": on_texts(lambda *texts: "".join(texts)),
    "CONCAT_WS": _concat_ws,
    "SUBSTRING": on_texts(_substring),
    "SUBSTRING_INDEX": on_texts(_substring_index),
    "LEFT": on_texts(lambda text, count: text[: max(0, whole(count))]),
    "RIGHT": on_texts(lambda text, n: text[len(text) - min(len(text), max(0, whole(n))) :]),
    "LPAD": on_texts(lambda text, size, fill: _padded(text, size, fill, left=True)),
    "RPAD": on_texts(lambda text, size, fill: _padded(text, size, fill, left=False)),
    "TRIM": on_texts(_trimmed),
    "LTRIM": on_texts(lambda text: text.lstrip(" ")),
    "RTRIM": on_texts(lambda text: text.rstrip(" ")),
    "UPPER": on_texts(lambda text: "".join(map(_upper, text))),
    "LOWER": on_texts(str.lower),
    "REVERSE": on_texts(lambda text: text[::-1]),
    "REPEAT": on_texts(_repeated),
    "SPACE": on_texts(lambda count: _repeated(" ", count)),
    "REPLACE": on_texts(_replaced),
    "INSERT": on_texts(_inserted),
    "CHAR": lambda *codes: "".join(chr(int(as_number(c) or 0) & 0x10FF) for c in codes),
    "QUOTE": on_texts(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    "MD5": _digest("md5"),
    "SHA1": _digest("sha1"),
    "CAST_CHAR": _cast_char,
    "TEXT": as_text,
}
