"""Patterns of text: LIKE and regular expressions."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from agentlm.environments.db.mysql.texts import on_texts, whole
from agentlm.environments.db.mysql.values import folded


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
    compiled, begin, number = _pattern(pattern, flags), whole(start) - 1, whole(which)
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
    compiled, begin, number = _pattern(pattern), whole(start) - 1, whole(which)
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


NUMBERS: dict[str, Callable[..., Any]] = {
    "REGEXP_LIKE": on_texts(_matches),
    "REGEXP_INSTR": on_texts(_regexp_instr),
    "LIKE": on_texts(_like),
}
TEXTS: dict[str, Callable[..., Any]] = {
    "REGEXP_REPLACE": on_texts(_regexp_replace),
    "REGEXP_SUBSTR": on_texts(_regexp_substr),
}
