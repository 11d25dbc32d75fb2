"""AgentInstruct's format: what was selected, as text that other trainers read too."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from agentlm.trajectory import Step, Trajectory


def agentinstruct_row(trajectory: Trajectory, trained: Sequence[bool]) -> dict[str, Any]:
    """One row: human and gpt turns in alternation, each gpt turn with its loss.

    The format knows no system role: instructions stand in the first human turn.
    """
    marked = zip(trajectory.steps, trained, strict=True)
    turns = [list(turn) for _, turn in groupby(marked, key=lambda it: it[0].role == "assistant")]
    return {"id": trajectory.id, "conversations": [_turn(turn) for turn in turns]}


def _turn(steps: Sequence[tuple[Step, bool]]) -> dict[str, Any]:
    if steps[0][0].role == "assistant":
        text = "".join(step.text for step, _ in steps)
        return {"from": "gpt", "loss": any(train for _, train in steps), "value": text}
    texts = [step.text for step, _ in steps if step.text]
    return {"from": "human", "loss": None, "value": "\n\n".join(texts)}
