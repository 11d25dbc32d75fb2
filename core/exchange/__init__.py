"""Trajectories as other programs write and read them: one JSON object a line.

| format | what it is |
|---|---|
| `agentinstruct` | AgentTuning's: human and gpt turns in alternation, a `loss` on each gpt turn |
| `openai` | chat messages with tools and tool calls; `weight` says what is trained on |
| `sharegpt` | system, human and gpt turns |
| `jsonl` | the record itself, whole; the only one that keeps token ids |

What is read from the first three is imported text: it has no ids, and is rendered by the renderer
of the model that trains on it. Its loss marks stand in `metadata["loss"]`, one for each step, and
come out again as they went in. Readers raise ValueError, in one line, for a row that is not of
their format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from agentlm.exchange.agentinstruct import from_agentinstruct, to_agentinstruct
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

__all__ = [
    "FORMATS",
    "Format",
    "FormatName",
    "from_agentinstruct",
    "from_openai",
    "from_record",
    "from_sharegpt",
    "to_agentinstruct",
    "to_openai",
    "to_record",
    "to_sharegpt",
]
