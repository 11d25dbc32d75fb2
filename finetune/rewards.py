"""Whose reward a step has: an environment's, or people's, answer by answer."""

from __future__ import annotations

from agentlm.trajectory import Trajectory, reward_of


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
