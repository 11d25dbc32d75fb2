"""Patterns of text: LIKE and regular expressions.

Whoever writes a pattern decides how long it takes to match. LIKE never goes back on what it has
matched; a regular expression has a deadline of its own, as SQLite can't end a call of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import regex

from agentlm.environments.db.mysql.texts import MAX_CHARS, on_texts, whole
from agentlm.environments.db.mysql.values import folded

_PATTERN_CHARS = 1000
_TEXT_CHARS = 100_000
"""Characters of a text that is searched: going back takes memory for each of them."""
_MATCH_SECONDS = 0.25


class PatternError(Exception):
    """A pattern that can't be read, or a text or pattern that is too long."""


@lru_cache(maxsize=256)
def _expression(pattern: str, flags: str = "i") -> regex.Pattern[str]:
    """MySQL's expressions, which are ICU's, are nearly these. Raises PatternError."""
    _check_length("pattern", pattern, _PATTERN_CHARS)
    options = 0 if "c" in flags else regex.IGNORECASE
    options |= regex.MULTILINE if "m" in flags else 0
    try:
        return regex.compile(pattern, options | (regex.DOTALL if "n" in flags else 0))
    except regex.error as error:
        raise PatternError(f"Illegal argument to a regular expression: {error}") from error


def _check_length(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise PatternError(f"a {what} of {len(text)} characters; at most {limit}")


def _found(
    pattern: regex.Pattern[str], text: str, begin: int = 0
) -> Iterator[tuple[int, regex.Match[str]]]:
    """The matches with their numbers. Raises PatternError and TimeoutError."""
    _check_length("text", text, _TEXT_CHARS)
    if begin < 0:
        raise PatternError("Index out of bounds in regular expression search.")
    matches = pattern.finditer(text, begin, timeout=_MATCH_SECONDS, concurrent=True)
    return enumerate(matches, 1)


def _matches(text: str, pattern: str, flags: str = "i") -> int:
    return int(any(True for _ in _found(_expression(pattern, flags), text)))


def _regexp_replace(
    text: str, pattern: str, new: str, start: str = "1", which: str = "0", flags: str = "i"
) -> str | None:
    template = re.sub(r"\$(\d)", r"\\g<\1>", new.replace("\\", "\\\\"))
    begin, number = whole(start) - 1, whole(which)
    parts, at, size = list[str](), 0, len(text)
    for index, match in _found(_expression(pattern, flags), text, begin):
        if number in (0, index):
            replacement = match.expand(template)
            parts += [text[at : match.start()], replacement]
            at, size = match.end(), size + len(replacement)
        if size > MAX_CHARS:
            return None
    return "".join((*parts, text[at:]))


def _regexp_match(
    text: str, pattern: str, start: str = "1", which: str = "1"
) -> regex.Match[str] | None:
    matches = _found(_expression(pattern), text, whole(start) - 1)
    return next((match for index, match in matches if index == whole(which)), None)


def _regexp_substr(*arguments: str) -> str | None:
    match = _regexp_match(*arguments)
    return match[0] if match else None


def _regexp_instr(*arguments: str) -> int:
    match = _regexp_match(*arguments)
    return match.start() + 1 if match else 0


@lru_cache(maxsize=256)
def _like_expression(pattern: str, escape: str) -> re.Pattern[str]:
    """Matches each piece between two `%` where it first comes, the last one at the end."""
    _check_length("pattern", pattern, _PATTERN_CHARS)
    pieces, index = [""], 0
    while index < len(pattern):
        char = pattern[index]
        if char == escape and index + 1 < len(pattern):
            index += 1
            pieces[-1] += re.escape(folded(pattern[index]))
        elif char == "%":
            pieces.append("")
        else:
            pieces[-1] += "." if char == "_" else re.escape(folded(char))
        index += 1
    first, *others = pieces
    middle = "".join(f"(?>.*?{piece})" for piece in others[:-1] if piece)
    end = f".*{others[-1]}" if others else ""
    return re.compile(f"{first}{middle}{end}", re.DOTALL)


def _like(text: str, pattern: str, escape: str = "\\") -> int:
    return int(_like_expression(pattern, escape).fullmatch(folded(text)) is not None)


NUMBERS: dict[str, Callable[..., Any]] = {
    "REGEXP_LIKE": on_texts(_matches),
    "REGEXP_INSTR": on_texts(_regexp_instr),
    "LIKE": on_texts(_like),
}
TEXTS: dict[str, Callable[..., Any]] = {
    "REGEXP_REPLACE": on_texts(_regexp_replace),
    "REGEXP_SUBSTR": on_texts(_regexp_substr),
}
