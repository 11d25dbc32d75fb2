"""What is remembered of each row until all rows that it is compared with are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agentlm.finetune.data.pipeline import Kept
from agentlm.finetune.filters.rules import Refused


class SampledStep(NamedTuple):
    """One sampled step of a row."""

    key: int
    """It is the same in a fork's copy of the step, and differs between tries."""
    start: int
    """Index of the step's first id in the row."""
    end: int


class Candidate(NamedTuple):
    """A row that may be learned from."""

    group: int
    """A hash of what makes rows comparable."""
    reward: float
    steps: tuple[SampledStep, ...] = ()
    age: int = 0
    """Number of trainings between the weights that sampled it and those being trained."""


class Chosen(NamedTuple):
    """A row that is learned from, with its value."""

    row: int
    value: float
    """How strongly the reward speaks for it (> 0) or against it (< 0)."""
    pair: int = -1
    shares: tuple[tuple[SampledStep, float], ...] = ()
    """Steps that count only in part, because other rows have them too."""
    trained_from: int = 0
    """No id before this index is trained on."""


class Verdicts(NamedTuple):
    """The result for all candidates."""

    units: list[list[Chosen]]
    """Each unit has rows that must be in one step."""
    left_out: dict[int, Refused]


def sampled_steps_of(kept: Kept) -> Iterator[SampledStep]:
    """The steps that are trained on. In tries with the same beginning, only copies have the same
    time."""
    key = end = 0
    for step, trained in zip(kept.trajectory.steps, kept.trained, strict=True):
        ids = step.token_ids or ()
        key = hash((key, step.started, ids))
        start, end = end, end + len(ids)
        if trained and ids:
            yield SampledStep(key, start, end)
