"""The reward that people's feedback on a trajectory adds up to."""

from __future__ import annotations

from agentlm.trajectory import Feedback


def reward_of(feedback: tuple[Feedback, ...]) -> float | None:
    """The human reward: last value per (name, author), booleans as 0/1, averaged.

    "Last" is by order of arrival, not by timestamp: clocks can be set back.

    Each answer and each step that was judged separately counts beside the whole. Returns None if
    nobody gave a value. An environment's own score takes precedence over this and is not passed
    here.
    """
    latest: dict[tuple[str, str, str | int | None], float] = {}
    for item in feedback:
        if item.value is not None:
            judged = item.completion_id if item.step is None else item.step
            latest[item.name, item.author, judged] = float(item.value)
    return sum(latest.values()) / len(latest) if latest else None
