"""An observation as the model reads it: between marks that the text itself can't write.

So no page, file, row or remote tool can pass for the user.
"""

from __future__ import annotations

import re

OBSERVATION = "Observation:"

_OBSERVATION = re.compile(OBSERVATION + r" <data>\n(.*)\n</data>", re.DOTALL)
_CLOSING = re.compile(r"<(\\*)(?=\s*/\s*data)", re.IGNORECASE)
"""What ends the data, or looks like it, with the backslashes that keep it from doing so."""


def observe(text: str) -> str:
    """Wrap `text` as an observation: everything in it is data, even if it claims otherwise."""
    unclosed = _CLOSING.sub(r"<\1\\", text)
    # On lines of their own, the marks are the same tokens whatever is next to them.
    return f"{OBSERVATION} <data>\n{unclosed}\n</data>"


def observed(text: str) -> str:
    """The text inside an observation. Older logs have observations without marks."""
    marked = _OBSERVATION.fullmatch(text)
    if marked is None or any(not match[1] for match in _CLOSING.finditer(marked[1])):
        return text.removeprefix(f"{OBSERVATION} ")
    return _CLOSING.sub(lambda match: f"<{match[1][1:]}", marked[1])
