"""Corrected answers: the model learns what a person says it should have said.

A correction becomes a separate row: the conversation up to that point, and the correction as the
only turn that is trained on. The corrected turn is no longer trained on, whatever its reward.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentlm.learnable import corrections
from agentlm.prompt.grammar import parse, write_answer
from agentlm.trajectory import Feedback, Origin, Step, Trajectory


def demonstrations(trajectory: Trajectory) -> Iterator[Trajectory]:
    """A trajectory for each corrected step, ending with the step's latest correction."""
    for place, feedback in corrections(trajectory).items():
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
