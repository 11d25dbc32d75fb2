"""Text of others made harmless to show: what steers a terminal is spelt out instead.

Names, messages, arguments, cells and outputs come from strangers. Written as they are to a terminal
they could move its cursor, rename its window, hide a command that waits for approval, or show text
in another order than it has. All that is shown passes here, by `console.Console` or `say`, and so
does what tools observe.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO

UNPRINTABLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and line feed, DEL, C1
    "\u061c\u202a-\u202e\u2066-\u2069"  # other order: embeddings, overrides, isolates
    "\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065"  # unseen
    "\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\u2028\u2029"  # other ends of a line
    "\ud800-\udfff"  # halves of characters, which no stream takes
    "]"
)


def printable(text: str) -> str:
    r"""`text` with what is not seen, or does more than to be seen, as JSON spells it: `\u001b`.

    In a text that is JSON already it changes nothing of what that says.
    """
    if text.isascii() and text.replace("\n", " ").replace("\t", " ").isprintable():
        return text  # as nearly all are: looking with the pattern takes eight times as long
    return UNPRINTABLE.sub(_spelt, text.replace("\r\n", "\n"))


def say(text: str, file: TextIO | None = None) -> None:
    """`print` for a text with something of others in it."""
    print(printable(text), file=file or sys.stdout)


class PrintableFormatter(logging.Formatter):
    """Log lines that steer no terminal; a traceback may quote anybody."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        return printable(super().format(record))


def _spelt(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
