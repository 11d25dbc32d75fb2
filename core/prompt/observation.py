"""What a tool observed, as the model reads it: between marks that the text can't write itself.

So no page, file, row or remote tool can pass for the user.
"""

from __future__ import annotations

import re

OBSERVATION = "Observation:"

_OBSERVATION = re.compile(OBSERVATION + r" <data>\n(.*)\n</data>", re.DOTALL)
_CLOSING = re.compile(r"<(\\*)(?=\s*/\s*data)", re.IGNORECASE)
"""What ends the data, or would to a careless reader, with the backslashes that keep it from it."""


def observe(text: str) -> str:
    """An observation as the model reads it: all of `text` is data, even if it says otherwise."""
    unclosed = _CLOSING.sub(r"<\1\\", text)
    # On lines of their own the marks are the same tokens whatever stands beside them.
    return f"{OBSERVATION} <data>\n{unclosed}\n</data>"


def observed(text: str) -> str:
    """What was observed, of an observation's text; logs of before the marks have none."""
    marked = _OBSERVATION.fullmatch(text)
    if marked is None or any(not found[1] for found in _CLOSING.finditer(marked[1])):
        return text.removeprefix(f"{OBSERVATION} ")
    return _CLOSING.sub(lambda found: f"<{found[1][1:]}", marked[1])
