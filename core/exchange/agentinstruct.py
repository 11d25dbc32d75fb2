"""AgentInstruct's rows: `{"id": "os_42", "conversations": [{"from", "loss", "value"}, …]}`."""

from __future__ import annotations

from typing import Any

from agentlm.exchange.conversation import read_conversation
from agentlm.exchange.turns import Loss, Turn, turns
from agentlm.trajectory import Trajectory


def to_agentinstruct(trajectory: Trajectory, loss: Loss | None = None) -> dict[str, Any]:
    """The format has no system role: instructions go into the first human turn.

    `loss` replaces the trajectory's own marks. A gpt turn is trained on if any of its steps is.
    """
    name = trajectory.task_id if trajectory.source == "import" else None
    return {
        "id": name or trajectory.id,
        "conversations": [_write(turn) for turn in turns(trajectory, loss)],
    }


def from_agentinstruct(row: object) -> Trajectory:
    """One step for each turn. A gpt turn is learned unless its `loss` is false."""
    return read_conversation(row, "conversations", named=True)


def _write(turn: Turn) -> dict[str, Any]:
    texts = [step.text for step in turn.steps]
    if turn.by_assistant:
        return {"from": "gpt", "loss": turn.loss, "value": "".join(texts)}
    return {"from": "human", "loss": None, "value": "\n\n".join(filter(None, texts))}
