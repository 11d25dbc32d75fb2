"""From a trajectory to a token row: the recorded ids, and which of them the model learns to say.

The ids are those that the engine saw and said; nothing is tokenised again. **Loss** stands on what
the model sampled, and where a reward vouches for it: feedback on one answer of a conversation
vouches for that answer only. A fork's copied beginning is trained on in its parent, so no sampled
token counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentlm.finetune.dataset import Row
from agentlm.trajectory import Origin, Step, Trajectory, reward_of


class Refused(NamedTuple):
    """Why no row could be made."""

    filter: str
    reason: str


def make_row(trajectory: Trajectory, trained: Sequence[bool], max_length: int) -> Row | Refused:
    """Ids and loss marks, up to the last trained token within `max_length`."""
    ids: list[int] = []
    loss: list[bool] = []
    for index, (step, train) in enumerate(zip(trajectory.steps, trained, strict=True)):
        if step.token_ids is None:
            return Refused("no_token_ids", f"step {index} has none")
        ids += step.token_ids
        loss += [train] * len(step.token_ids)
    if not any(loss):
        return Refused("nothing_to_train", "no well-formed sampled step has the reward")
    end = min(max_length, len(loss) - loss[::-1].index(True))
    if not any(loss[1:end]):
        return Refused("too_long", f"its first {max_length} tokens hold nothing to train on")
    return Row(trajectory.id, ids[:end], loss[:end])


def loss_steps(trajectory: Trajectory, min_reward: float) -> list[bool]:
    """For each step, whether the model learns to say it."""
    rewards = step_rewards(trajectory)
    copied = trajectory.parent_step or 0
    return [
        index >= copied
        and learnable(step, following)
        and reward is not None
        and reward >= min_reward
        for index, (step, following, reward) in enumerate(
            zip(trajectory.steps, [*trajectory.steps[1:], None], rewards, strict=True)
        )
    ]


def learnable(step: Step, following: Step | None) -> bool:
    """Sampled, well formed, and not a call that the tool refused.

    An erroneous turn stays as context: the model learns the correction, not the mistake.
    """
    refused = following is not None and following.failed
    return step.origin is Origin.SAMPLED and step.error is None and not refused


def step_rewards(trajectory: Trajectory) -> list[float | None]:
    """The reward of each step: of its own answer where that was judged, else of the whole."""
    human = reward_of(trajectory.feedback)
    if human is None or human != trajectory.reward:  # the environment's own score
        return [trajectory.reward] * len(trajectory.steps)
    whole = reward_of(tuple(f for f in trajectory.feedback if f.completion_id is None))
    rewards = [whole] * len(trajectory.steps)
    for interaction in trajectory.interactions:
        own = reward_of(
            tuple(f for f in trajectory.feedback if f.completion_id == interaction.completion_id)
        )
        if own is not None:
            span = range(interaction.first_step, min(interaction.end_step, len(rewards)))
            for index in span:
                rewards[index] = own
    return rewards
