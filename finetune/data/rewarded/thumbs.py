"""kto: judged answers, each on its own.

A conversation with a good answer and a bad one makes two rows. In each, only the answers of its
kind are trained on; the others remain as context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agentlm.errors import OperatorError
from agentlm.finetune.data.pipeline import Kept
from agentlm.finetune.data.rewarded.candidates import Candidate, Chosen, Verdicts
from agentlm.finetune.filters.rewards import step_rewards
from agentlm.learnable import corrections, own_steps, well_formed
from agentlm.trajectory import Trajectory

SIDE = "thumb"
"""The key in a trajectory's metadata for the kind of answers that a row trains on."""


def by_side(trajectory: Trajectory, min_reward: float) -> Iterator[Trajectory]:
    """The trajectory once for each kind of judgement in it."""
    rewards = step_rewards(trajectory)
    sides = {
        reward >= min_reward
        for reward, own in zip(rewards, own_steps(trajectory), strict=True)
        if own and reward is not None
    }
    for good in sorted(sides, reverse=True):
        metadata = trajectory.metadata | {SIDE: "up" if good else "down"}
        yield trajectory.model_copy(update={"metadata": metadata})
    if not sides:
        yield trajectory


def thumb_steps(trajectory: Trajectory, min_reward: float) -> list[bool]:
    """For each step, whether it was sampled, and judged in this row's way."""
    good = is_good(trajectory)
    corrected = corrections(trajectory)
    following = [*trajectory.steps[1:], None]
    return [
        own
        and index >= (trajectory.parent_step or 0)
        and reward is not None
        and (reward >= min_reward) is good
        and (not good or (index not in corrected and well_formed(step, after)))
        for index, (step, after, own, reward) in enumerate(
            zip(
                trajectory.steps,
                following,
                own_steps(trajectory),
                step_rewards(trajectory),
                strict=True,
            )
        )
    ]


def is_good(trajectory: Trajectory) -> bool:
    """Which kind of judgement a row is about."""
    return trajectory.metadata.get(SIDE) == "up"


def candidate(kept: Kept) -> Candidate:
    """Nothing is compared."""
    return Candidate(0, float(is_good(kept.trajectory)))


def judge(candidates: Sequence[Candidate]) -> Verdicts:
    """Every row, weighted so that both kinds count the same.

    Raises OperatorError if there is only one kind, since then there is nothing to keep away from.
    """
    good = sum(one.reward > 0 for one in candidates)
    bad = len(candidates) - good
    if not good or not bad:
        raise OperatorError(
            f"--method kto learns from good answers beside bad ones, and found {good} and {bad}"
        )
    up, down = len(candidates) / (2 * good), -len(candidates) / (2 * bad)
    return Verdicts(
        [[Chosen(row, up if one.reward else down)] for row, one in enumerate(candidates)], {}
    )
