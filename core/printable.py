"""Make text from elsewhere safe to print: characters that control a terminal are spelled out.

Names, messages, arguments, cells and outputs come from strangers. Printed unchanged, they could
move the terminal's cursor, rename its window, hide a command that waits for approval, or display
text in another order than it has. Everything that is printed passes through here, by
`console.Console` or `say`, and so does what tools observe.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO

UNPRINTABLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u061c\u202a-\u202e\u2066-\u2069"  # change the order of text: embeddings, overrides, isolates
    "\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065"  # invisible
    "\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\u2028\u2029"  # further line separators
    "\ud800-\udfff"  # halves of surrogate pairs, which no stream accepts
    "]"
)


def printable(text: str) -> str:
    r"""Spell out what is invisible or affects more than its place, in JSON's way: `\u001b`.

    A text that is JSON already keeps its meaning.
    """
    if text.isascii() and text.replace("\n", " ").replace("\t", " ").isprintable():
        return text  # nearly all texts; the pattern takes eight times as long
    return UNPRINTABLE.sub(_spelt, text.replace("\r\n", "\n"))


def say(text: str, file: TextIO | None = None) -> None:
    """`print` for text that may contain a stranger's."""
    print(printable(text), file=file or sys.stdout)


class PrintableFormatter(logging.Formatter):
    """Log lines that don't control a terminal; a traceback may quote anybody."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _spelt(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
