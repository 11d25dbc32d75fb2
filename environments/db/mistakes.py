"""Mistakes that an expert makes now and then and recovers from: a name that is nearly right.

The database refuses the statement, so nothing changes; the refused turn is never trained on
(`finetune/data/rows.py`), the next turn is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from agentlm.environments.db.templates import Identifier, literal

_NAME = re.compile(r"`((?:[^`]|``)+)`")


def slip(query: str, random: Random) -> tuple[str, str] | None:
    """A quoted name of the statement, and what a hasty writer may put in its place."""
    names = list(dict.fromkeys(name.replace("``", "`") for name in _NAME.findall(query)))
    taken = {name.lower() for name in names}
    slips = [
        (name, wrong) for name in names for wrong in _nearly(name) if wrong.lower() not in taken
    ]
    if not slips:
        return None
    name, wrong = random.choice(slips)
    return literal(Identifier(name)), literal(Identifier(wrong))


def _nearly(name: str) -> Iterator[str]:
    parts = re.split(r"[\s_-]+", name)
    if len(parts) > 1:
        yield ("" if "_" in name else "_").join(parts)
        yield name[: -len(parts[-1]) - 1]
    yield name[:-1] if name.endswith("s") else f"{name}s"
