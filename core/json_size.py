"""How many values a JSON text holds, before it is read.

A few megabytes can be millions of lists: whoever reads those keeps an event loop waiting for
seconds, and takes fifty times the memory.
"""

from __future__ import annotations

import re

MAX_ITEMS = 500_000
"""Of all lists and objects together."""
MAX_NESTED = 100_000
"""Lists, objects and their keys: what costs most to read, for the least text."""
_STRING = re.compile(rb'"[^"]*"')


def has_too_many_values(text: bytes) -> bool:
    """Whether there are more than can be read in an instant. A string counts as one."""
    if not _are_many(text):
        return False
    bare = text.replace(rb"\\", b"").replace(rb"\"", b"")  # so that quotes only bound strings
    return bare.count(b'"') > 2 * (MAX_ITEMS + MAX_NESTED) or _are_many(_STRING.sub(b"", bare))


def _are_many(text: bytes) -> bool:
    nested = sum(map(text.count, (b"[", b"{", b":")))
    return text.count(b",") > MAX_ITEMS or nested > MAX_NESTED
