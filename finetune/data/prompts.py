"""General questions that are shipped here (`prompts.yaml`), first words of texts, and tools that
none of the questions needs.

A question is a form with its placeholders filled in. Every form comes once before any comes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from itertools import product
from random import Random
from string import Formatter
from typing import Any

import yaml

from agentlm.messages import ToolSpec

MOST_TOOLS = 4


def questions(seed: int = 0) -> Iterator[str]:
    """All questions, each once, in an order that depends on the seed."""
    return _in_turn(_written()["forms"], seed)


def openings(seed: int = 0) -> Iterator[str]:
    """First words of texts that are no answers, each once, in an order that depends on the seed."""
    for opening in _in_turn(_written()["openings"], seed):
        yield f"{opening[:1].upper()}{opening[1:]}"


def _in_turn(forms: Iterable[str], seed: int) -> Iterator[str]:
    random = Random(f"prompts/{seed}")
    left = [list(_filled(form)) for form in forms]
    for filled in left:
        random.shuffle(filled)
    while left:
        random.shuffle(left)
        for filled in left:
            yield filled.pop()
        left = [filled for filled in left if filled]


def unfit_tools(random: Random) -> tuple[ToolSpec, ...]:
    """A few tools, in the form in which a client declares them."""
    chosen = random.sample(_written()["tools"], random.randint(1, MOST_TOOLS))
    return tuple(_tool(*tool) for tool in chosen)


def _filled(form: str) -> Iterator[str]:
    slots = list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(form) if name))
    for values in product(*(_written()[slot] for slot in slots)):
        yield form.format(**dict(zip(slots, values, strict=True)))


def _tool(name: str, description: str, arguments: dict[str, str]) -> ToolSpec:
    schema = {
        "type": "object",
        "properties": {argument: {"type": kind} for argument, kind in arguments.items()},
        "required": list(arguments),
    }
    return ToolSpec(name=name, description=description, parameters=schema)


@cache
def _written() -> dict[str, Any]:
    text = files("agentlm.finetune.data").joinpath("prompts.yaml").read_text(encoding="utf-8")
    written: dict[str, Any] = yaml.safe_load(text)
    return written
