"""Which steps of a trajectory a model can learn to say, whatever their rewards.

A run also asks for a reward (`finetune.data`); people who look at a trajectory see the same steps.
"""

from __future__ import annotations

from agentlm.trajectory import Feedback, Origin, Step, Trajectory


def learnable_steps(trajectory: Trajectory) -> list[bool]:
    """For each step whether it is the model's own, well-formed, said here first, and stands
    uncorrected."""
    copied = trajectory.parent_step or 0
    corrected = corrections(trajectory)
    following = [*trajectory.steps[1:], None]
    return [
        index >= copied and own and index not in corrected and well_formed(step, after)
        for index, (step, after, own) in enumerate(
            zip(trajectory.steps, following, own_steps(trajectory), strict=True)
        )
    ]


def well_formed(step: Step, following: Step | None) -> bool:
    """Whether the turn could be read, and its call was not refused by the tool.

    An erroneous turn stays as context: the model learns the correction, not the mistake.
    """
    return step.error is None and not (following is not None and following.failed)


def own_steps(trajectory: Trajectory) -> list[bool]:
    """For each step, whether it is the model's own, or a demonstration."""
    marks = trajectory.metadata.get("loss")
    if not isinstance(marks, list) or len(marks) != len(trajectory.steps):
        if any(step.origin is Origin.SAMPLED for step in trajectory.steps):
            return [step.origin is Origin.SAMPLED for step in trajectory.steps]
        marks = [None] * len(trajectory.steps)
    return [
        step.role == "assistant"
        and step.origin is Origin.IMPORTED
        and mark is not False
        # An empty turn would teach the model to end a turn without saying anything.
        and step.text.strip() != ""
        for step, mark in zip(trajectory.steps, marks, strict=True)
    ]


def corrections(trajectory: Trajectory) -> dict[int, Feedback]:
    """The last correction of each step that has one."""
    corrected = (each for each in trajectory.feedback if each.correction is not None)
    places = ((_place(trajectory, each), each) for each in corrected)
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
