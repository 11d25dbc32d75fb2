"""Rewards of steps: from an environment, or from people, answer by answer."""

from __future__ import annotations

from agentlm.feedback import reward_of
from agentlm.trajectory import Trajectory


def approved_by_person(trajectory: Trajectory) -> bool:
    """Whether its reward comes from people's feedback, not from an environment's score."""
    human = reward_of(trajectory.feedback) if trajectory.feedback else None
    return human is not None and human == trajectory.reward


def step_rewards(trajectory: Trajectory) -> list[float | None]:
    """For each step its own reward if it was judged, else its answer's, else the trajectory's."""
    if not approved_by_person(trajectory):
        return [trajectory.reward] * len(trajectory.steps)
    of_answers = [f for f in trajectory.feedback if f.step is None]
    whole = reward_of(tuple(f for f in of_answers if f.completion_id is None))
    rewards = [whole] * len(trajectory.steps)
    for interaction in trajectory.interactions:
        own = reward_of(
            tuple(f for f in of_answers if f.completion_id == interaction.completion_id)
        )
        if own is not None:
            span = range(interaction.first_step, min(interaction.end_step, len(rewards)))
            for index in span:
                rewards[index] = own
    for place in {f.step for f in trajectory.feedback if f.step is not None}:
        of_step = reward_of(tuple(f for f in trajectory.feedback if f.step == place))
        rewards[place] = rewards[place] if of_step is None else of_step
    return rewards
