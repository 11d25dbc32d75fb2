"""ShareGPT's rows: `{"id", "conversations": [{"from": "human" | "gpt", "value"}, …]}`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from agentlm.exchange.turns import imported, imported_step, parse_row, turns
from agentlm.messages import Role
from agentlm.prompt.grammar import observe
from agentlm.trajectory import Step, Trajectory

_ROLES: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "tool": "tool",
    "observation": "tool",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
}
"""Names that are in use; `human`, `gpt` and `system` are written."""


class _Turn(BaseModel):
    speaker: Literal[
        "system", "human", "user", "tool", "observation", "gpt", "assistant", "chatgpt"
    ] = Field(alias="from")
    value: str


class _Row(BaseModel):
    id: str | None = None
    conversations: list[_Turn] = Field(min_length=1)


def to_sharegpt(trajectory: Trajectory) -> dict[str, Any]:
    """A row; observations are human turns."""
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
    """The trajectory of a row: every answer is trained on."""
    parsed = parse_row(_Row, row)
    steps = [_step(_ROLES[turn.speaker], turn.value) for turn in parsed.conversations]
    loss = [True if step.role == "assistant" else None for step in steps]
    return imported(steps, loss, task_id=parsed.id)


def _step(role: Role, text: str) -> Step:
    return imported_step(role, observe(text) if role == "tool" else text)
