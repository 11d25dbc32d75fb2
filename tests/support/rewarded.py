"""Tries at one task, recorded as a model itself would say them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agentlm.finetune.training.model import load
from agentlm.prompt.render import Renderer
from agentlm.trajectory import Origin, Sampling, Step, Trajectory
from support.finetune_logs import conversation, trajectory

WRONG = "Thought: I have the number.\nFinal Answer: 9 programs start with z."


def tries(
    directory: Path,
    by: Renderer,
    weights: str | None,
    answers: Sequence[Sequence[str]],
    rewards: Sequence[float],
) -> list[Trajectory]:
    """One for each of the answers, by the model in a directory."""
    model = load(directory, None, torch.float32)
    fields = {"environment": "db", "task_id": "t1", "source": "rollout"}
    return [
        trajectory(
            as_sampled(model, conversation(by, "How many?", *texts), weights),
            reward=reward,
            **fields,
        )
        for texts, reward in zip(answers, rewards, strict=True)
    ]


def as_sampled(model: Any, steps: tuple[Step, ...], weights: str | None) -> tuple[Step, ...]:
    found = log_probabilities(model, [i for step in steps for i in step.token_ids or ()])
    recorded, at = [], 0
    for step in steps:
        end = at + len(step.token_ids or ())
        known = {"logprobs": tuple(found[at:end].tolist()), "weights_version": weights}
        known |= {"sampling": Sampling()}
        own = step.origin is Origin.SAMPLED
        recorded.append(step.model_copy(update=known) if own else step)
        at = end
    return tuple(recorded)


@torch.no_grad()
def log_probabilities(model: Any, ids: list[int]) -> np.ndarray[Any, Any]:
    model.set_attn_implementation("sdpa")
    logits = model(input_ids=torch.tensor(ids)[None]).logits[0]
    targets = torch.tensor(ids[1:])[:, None]
    found = torch.log_softmax(logits[:-1], -1).gather(1, targets)[:, 0]
    return np.append(0.0, found.numpy())
