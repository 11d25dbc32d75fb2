"""Trajectories as other programs write and read them: one JSON object a line.

| format | what it is |
|---|---|
| `agentinstruct` | AgentTuning's: human and gpt turns in alternation, a `loss` on each gpt turn |
| `openai` | chat messages with tools and tool calls; `weight` says what is trained on |
| `sharegpt` | system, human and gpt turns |
| `jsonl` | the record itself, whole; the only one that keeps token ids |

Three more are only read: `alpaca`, `completion` (with `prompt`), `query` (with `response`). Which
format a row is of is told by its keys. docs/data-formats.md shows a row of each.

What is read from all but the last is imported text: it has no ids, and is rendered by the renderer
of the model that trains on it. Its loss marks stand in `metadata["loss"]`, one for each step, and
come out again as they went in. Readers raise ValueError, in one line, for a row that is not of
their format, or has a key that could change what is learnt and is not theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from agentlm.exchange.agentinstruct import from_agentinstruct, to_agentinstruct
from agentlm.exchange.instructions import from_alpaca, from_completion, from_query
from agentlm.exchange.keys import short
from agentlm.exchange.openai import from_openai, to_openai
from agentlm.exchange.record import from_record, to_record
from agentlm.exchange.sharegpt import from_sharegpt, to_sharegpt
from agentlm.trajectory import Trajectory

FormatName = Literal["agentinstruct", "openai", "sharegpt", "jsonl"]


class Format(NamedTuple):
    """Both ways of one format, between a trajectory and the object of a line."""

    write: Callable[[Trajectory], dict[str, Any]]
    read: Callable[[object], Trajectory]


FORMATS: dict[FormatName, Format] = {
    "agentinstruct": Format(to_agentinstruct, from_agentinstruct),
    "openai": Format(to_openai, from_openai),
    "sharegpt": Format(to_sharegpt, from_sharegpt),
    "jsonl": Format(to_record, from_record),
}

READERS: dict[str, Callable[[object], Trajectory]] = {
    **{name: one.read for name, one in FORMATS.items()},
    "alpaca": from_alpaca,
    "completion": from_completion,
    "query": from_query,
}
"""How a row of each format is read."""

_KEYS: dict[str, tuple[str, ...]] = {
    "sharegpt": ("conversations",),
    "openai": ("messages",),
    "jsonl": ("steps",),
    "alpaca": ("instruction", "output"),
    "completion": ("prompt", "completion"),
    "query": ("query", "response"),
}
"""The keys by which a row of a format is known."""


def read_row(row: object) -> Trajectory:
    """The trajectory of a row of any format. Raises ValueError if it is of none."""
    return READERS[format_of(row)](row)


def format_of(row: object) -> str:
    """Which format a row's keys belong to. Raises ValueError if to none."""
    if not isinstance(row, dict):
        raise ValueError(f"a row is a JSON object, got {short(row)}")
    for name, keys in _KEYS.items():
        if all(row.get(key) is not None for key in keys):
            return name
    known = " · ".join(", ".join(keys) for keys in _KEYS.values())
    raise ValueError(
        f"of no known format, got the keys {short(', '.join(row))}; known: {known} "
        "(--columns KEY=NAME says what others mean)"
    )


__all__ = [
    "FORMATS",
    "READERS",
    "Format",
    "FormatName",
    "format_of",
    "from_agentinstruct",
    "from_openai",
    "from_record",
    "from_sharegpt",
    "read_row",
    "to_agentinstruct",
    "to_openai",
    "to_record",
    "to_sharegpt",
]
