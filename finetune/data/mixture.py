"""The plan of a run: which rows each optimizer step takes, decided before training begins.

Sources are mixed by weight: each draw is from the source that is furthest behind its share. This is
exact at every moment, where random drawing would be right only on average. Within a source, rows
come in a shuffled order, every row once before any comes again. The same seed gives the same plan,
so a killed run continues exactly where it was.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count as counter
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from agentlm.finetune.data.dataset import Rows, TokenRow
from agentlm.finetune.run import damaged

_NO_ARRAYS = (OSError, ValueError, EOFError, BadZipFile, zlib.error)
"""Exceptions of numpy for a file without arrays."""


@dataclass(frozen=True)
class Source:
    """Rows of one kind, and their share of the mixture."""

    name: str
    rows: Rows
    weight: float
    distilled: bool = False
    """Whether its rows are to stay as likely as the base has them; else they are imitated."""

    def token_row(self, index: int) -> TokenRow:
        """One of its rows, with everything that training needs."""
        return self.rows.token_row(index)._replace(distilled=self.distilled)


@dataclass(frozen=True)
class Plan:
    """Rows by step."""

    draws: NDArray[np.int64]
    """(draws, 2): index of the source, index of the row in it."""
    ends: NDArray[np.int64]
    """For each step, one past its last draw."""

    @property
    def steps(self) -> int:
        """Number of optimizer steps."""
        return len(self.ends)

    def batch(self, step: int, sources: Sequence[Source]) -> list[TokenRow]:
        first = int(self.ends[step - 1]) if step else 0
        return [sources[s].token_row(r) for s, r in self.draws[first : self.ends[step]]]

    def save(self, path: Path) -> None:
        """Write it where `load` finds it."""
        np.savez(path, draws=self.draws, ends=self.ends)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read what `save` wrote. Raises OperatorError if it is missing or damaged."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                plan = cls(file["draws"], file["ends"])
        except (*_NO_ARRAYS, KeyError, TypeError) as error:
            raise damaged(path, str(error)) from error
        if plan.draws.shape != (plan.ends[-1] if plan.steps else 0, 2):
            raise damaged(path, "its steps and its draws are not of one plan")
        return plan


@dataclass(frozen=True)
class Batches:
    """How much a step takes, and how many steps there are."""

    rows: int
    """Limit for the rows of a step. Rows that must be in one step stay together even beyond it."""
    tokens: int | None = None
    """Fill a step with rows up to this many tokens; then `rows` is ignored."""
    max_steps: int | None = None
    epochs: float = 1.0
    """Passes over the first source, unless `max_steps` is given."""


class Draw(NamedTuple):
    """Rows taken from one source: one, or as many as must be in one step."""

    source: int
    rows: range
    tokens: int


def make_plan(
    sources: Sequence[Source], batches: Batches, *, unit: Literal["tokens", "rows"], seed: int
) -> Plan:
    """Draw the rows of every step, mixed by `unit`. The first source determines the length of an
    epoch."""
    draws = _draw(sources, unit, seed)
    if batches.max_steps is None:
        draws = _until_first_source_gave(draws, round(batches.epochs * len(sources[0].rows)))
    there = sum(len(source.rows) for source in sources)
    steps = list(islice(_fill_steps(draws, batches, there), batches.max_steps))
    flat = [(draw.source, row) for step in steps for draw in step for row in draw.rows]
    return Plan(
        np.array(flat, np.int64).reshape(-1, 2),
        np.cumsum([sum(len(draw.rows) for draw in step) for step in steps], dtype=np.int64),
    )


def _draw(sources: Sequence[Source], unit: Literal["tokens", "rows"], seed: int) -> Iterator[Draw]:
    """An endless sequence of rows, each from the source that is furthest behind its share."""
    ends = [source.rows.unit_ends for source in sources]
    shuffled = [_shuffled(len(units), seed, at) for at, units in enumerate(ends)]
    weights = np.array([source.weight for source in sources]) / sum(s.weight for s in sources)
    drawn = np.zeros(len(sources))
    while True:
        at = int(np.argmax(weights * (drawn.sum() + 1) - drawn))
        index = next(shuffled[at])
        rows = range(int(ends[at][index - 1]) if index else 0, int(ends[at][index]))
        tokens = int(sources[at].rows.lengths[rows.start : rows.stop].sum())
        drawn[at] += tokens if unit == "tokens" else len(rows)
        yield Draw(at, rows, tokens)


def _shuffled(count: int, seed: int, source: int) -> Iterator[int]:
    for epoch in counter():
        yield from np.random.default_rng([seed, source, epoch]).permutation(count).tolist()


def _until_first_source_gave(draws: Iterator[Draw], wanted: int) -> Iterator[Draw]:
    drawn = 0
    for draw in draws:
        drawn += len(draw.rows) if draw.source == 0 else 0
        yield draw
        if drawn >= max(1, wanted):
            return


def _fill_steps(draws: Iterable[Draw], batches: Batches, there: int) -> Iterator[list[Draw]]:
    step: list[Draw] = []
    rows = tokens = 0
    most = there if batches.tokens else min(batches.rows, there)
    for draw in draws:
        full = rows + len(draw.rows) > most
        if step and (full or (batches.tokens and tokens + draw.tokens > batches.tokens)):
            yield step
            step, rows, tokens = [], 0, 0
        step.append(draw)
        rows += len(draw.rows)
        tokens += draw.tokens
    if step:
        yield step
