"""Corrected answers: the model learns what a person says it should have said.

A correction becomes a separate row: the conversation up to that point, and the correction as the
only turn that is trained on. The corrected turn is no longer trained on, whatever its reward.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentlm.prompt.grammar import parse, write_answer
from agentlm.trajectory import Feedback, Origin, Step, Trajectory


def demonstrations(trajectory: Trajectory) -> Iterator[Trajectory]:
    """A trajectory for each corrected step, ending with the step's latest correction."""
    for place, feedback in _corrections(trajectory).items():
        steps = (*_before(trajectory, place), _demonstrated(trajectory, place, feedback))
        marks = [None] * (len(steps) - 1) + [True]
        approved = Feedback(author=feedback.author, value=True, created=feedback.created)
        yield trajectory.model_copy(
            update={
                "steps": steps,
                "reward": 1.0,
                "feedback": (approved,),
                "interactions": (),
                "parent_id": None,
                "parent_step": None,
                "metadata": trajectory.metadata | {"loss": marks},
            }
        )


def corrected_steps(trajectory: Trajectory) -> frozenset[int]:
    """Indices of the corrected steps."""
    return frozenset(_corrections(trajectory))


def _corrections(trajectory: Trajectory) -> dict[int, Feedback]:
    """The last correction of each step that has one."""
    corrections = (each for each in trajectory.feedback if each.correction is not None)
    places = ((_place(trajectory, each), each) for each in corrections)
    return {place: each for place, each in places if place is not None}


def _place(trajectory: Trajectory, feedback: Feedback) -> int | None:
    """Index of the judged step: the one named, or the last sampled one of what was judged."""
    if feedback.step is not None:
        return feedback.step
    ends = [
        interaction.end_step
        for interaction in trajectory.interactions
        if interaction.completion_id == feedback.completion_id
    ]
    until = ends[0] if ends else len(trajectory.steps)
    indices = (
        index
        for index in range(until - 1, -1, -1)
        if trajectory.steps[index].role == "assistant"
        and trajectory.steps[index].origin is not Origin.FORCED
    )
    return next(indices, None)


def _before(trajectory: Trajectory, place: int) -> tuple[Step, ...]:
    """The conversation before a turn, without text that the server forced into that turn."""
    while place and trajectory.steps[place - 1].origin is Origin.FORCED:
        place -= 1
    return trajectory.steps[:place]


def _demonstrated(trajectory: Trajectory, place: int, feedback: Feedback) -> Step:
    """The correction as a turn; if there are tools, in the form that such turns have."""
    text = feedback.correction or ""
    if trajectory.tools and (read := parse(text)).name is None and read.answer is None:
        text = write_answer(text, trajectory.steps[place].thought)
    reading = parse(text) if trajectory.tools else None
    answer = reading.answer if reading else text
    thought = reading.thought if reading else None
    return Step(
        role="assistant",
        origin=Origin.IMPORTED,
        text=text,
        token_ids=None,
        thought=thought,
        answer=answer,
    )
