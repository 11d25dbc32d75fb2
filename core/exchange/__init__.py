"""Trajectories as other programs write and read them: one JSON object a line.

| format | what it is |
|---|---|
| `agentinstruct` | AgentTuning's: human and gpt turns in alternation, a `loss` on each gpt turn |
| `openai` | chat messages with tools and tool calls; `weight` says what is trained on |
| `sharegpt` | system, human and gpt turns |
| `jsonl` | the record itself, whole; the only one that keeps token ids |

Four more formats are only read: `alpaca`, `completion` (with `prompt`), `query` (with `response`),
and `text`, which is no conversation.
The keys of a row tell its format. docs/data-formats.md shows a row of each.

Rows of every format but the last become imported text: it has no ids, and the renderer of the model
that trains on it renders it. Their loss marks are kept in `metadata["loss"]`, one for each step,
and are written back unchanged. Readers raise ValueError, with a message of one line, if a row is
not of their format, or if it has an unknown key that could change what is learned.
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
from agentlm.exchange.text import from_text
from agentlm.trajectory import Trajectory

FormatName = Literal["agentinstruct", "openai", "sharegpt", "jsonl"]


class Format(NamedTuple):
    """Reader and writer of one format, between a trajectory and the object of a line."""

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
    "text": from_text,
}
"""The reader of each format."""

_KEYS: dict[str, tuple[str, ...]] = {
    "sharegpt": ("conversations",),
    "openai": ("messages",),
    "jsonl": ("steps",),
    "alpaca": ("instruction", "output"),
    "completion": ("prompt", "completion"),
    "query": ("query", "response"),
    "text": ("text",),
}
"""The keys that identify a row of each format."""


def read_row(row: object) -> Trajectory:
    """The trajectory of a row of any format. Raises ValueError if the format is unknown."""
    return READERS[format_of(row)](row)


def format_of(row: object) -> str:
    """The format that a row's keys identify. Raises ValueError if there is none."""
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
