"""What is remembered of each row until all are there that it is judged beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agentlm.finetune.data.pipeline import Kept
from agentlm.finetune.filters.rules import Refused


class Said(NamedTuple):
    """One sampled step of a row."""

    key: int
    """The same in the copy that a fork has of it, and in no other try."""
    start: int
    """Of its ids in the row."""
    end: int


class Candidate(NamedTuple):
    """A row that may be learned from."""

    group: int
    """A hash of what makes rows comparable."""
    reward: float
    said: tuple[Said, ...] = ()
    age: int = 0
    """How many trainings lie between the weights that said it and those that are trained."""


class Chosen(NamedTuple):
    """A row that is learned from, and how."""

    row: int
    value: float
    """What is said for it (above 0) or against it."""
    pair: int = -1
    shares: tuple[tuple[Said, float], ...] = ()
    """Steps of which it counts only a part, because other rows have them too."""
    trained_from: int = 0
    """No id before this one is trained on."""


class Verdicts(NamedTuple):
    """What became of the candidates."""

    units: list[list[Chosen]]
    """Rows that must be in one step."""
    left_out: dict[int, Refused]


def said_steps(kept: Kept) -> Iterator[Said]:
    """The steps that are trained on. Of tries that begin alike, only copies have the same time."""
    key = end = 0
    for step, trained in zip(kept.trajectory.steps, kept.trained, strict=True):
        ids = step.token_ids or ()
        key = hash((key, step.started, ids))
        start, end = end, end + len(ids)
        if trained and ids:
            yield Said(key, start, end)
