"""The tool of the serving benchmark's agent runs; the same function on both sides."""

from __future__ import annotations

PAGES = 6
_TEXT = "the work is licensed to you under terms that permit its use, change and distribution, " * 3


def page(number: int) -> str:
    """Read one page of the book."""
    return f"{_TEXT}(page {number} of {PAGES})"
