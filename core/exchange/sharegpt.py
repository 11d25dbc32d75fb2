"""ShareGPT's rows: `{"id", "conversations": [{"from": "human" | "gpt", "value"}, …]}`."""

from __future__ import annotations

from typing import Any

from agentlm.exchange.conversation import read_conversation
from agentlm.exchange.turns import turns
from agentlm.trajectory import Trajectory


def to_sharegpt(trajectory: Trajectory) -> dict[str, Any]:
    """Observations become human turns."""
    conversations = []
    for turn in turns(trajectory):
        if turn.by_assistant:
            text = "".join(step.text for step in turn.steps)
            conversations.append({"from": "gpt", "value": text})
            continue
        for step in turn.steps:
            speaker = "system" if step.role == "system" else "human"
            conversations.append({"from": speaker, "value": step.text})
    return {"id": trajectory.id, "conversations": conversations}


def from_sharegpt(row: object) -> Trajectory:
    """Every answer is trained on, unless it is marked otherwise."""
    return read_conversation(row, "conversations", named=True)
