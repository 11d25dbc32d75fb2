"""Packs: rows laid out so that what they share is computed once, and nothing leaks between them.

A pack is a forest of **segments**. Rows that begin alike (the system prompt and the tool
descriptions of every agent row) share the segment of their common beginning; each goes on in a
segment of its own, which attends to its ancestors and to itself, and whose positions continue
theirs. A causal model computes for a shared token exactly what it would compute in each row, so
loss and gradients equal those of the rows one by one; a trained token that several rows share
counts once for each of them.

    rows                     pack
    A B C d e                A B C ─┬─ d e
    A B C f          →              └─ f
    g h                      g h

How rows are dealt to packs is of no consequence to the gradient of a step; it decides only how
much is computed twice. There is no padding: a pack is as long as its distinct tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentlm.finetune.data.dataset import Ids, TokenRow

MIN_SHARED_TOKENS = 16
"""A shorter common beginning costs more to split off than to compute twice."""


class Segment(NamedTuple):
    """Consecutive tokens of a pack; they attend to their ancestors and, causally, to each other."""

    start: int
    end: int
    """One past its last token, in the pack."""
    parent: int
    """Index of the segment that it continues, or -1."""


@dataclass(frozen=True)
class Pack:
    """What one forward pass computes."""

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    """Place of each token in its row."""
    segments: tuple[Segment, ...]
    """Parents before children; together they cover the pack."""
    sources: NDArray[np.int64]
    """Where in the pack each trained token is predicted from: the token before it."""
    targets: NDArray[np.int64]
    """The trained tokens."""
    weights: NDArray[np.float32]
    """How many rows each trained token stands for."""

    def weightless(self) -> Pack:
        """The same computation without any loss: for a rank that has nothing left to do."""
        return Pack(
            self.ids,
            self.positions,
            self.segments,
            self.sources,
            self.targets,
            np.zeros_like(self.weights),
        )


def pack(rows: Iterable[TokenRow], max_tokens: int, *, share: bool = True) -> Iterator[Pack]:
    """Lay rows out in packs of at most `max_tokens` (a longer row gets a pack of its own).

    `share=False` computes every row whole, still without attention from one to another.
    """
    ordered = sorted(rows, key=lambda row: row[0].tolist())
    waiting: list[TokenRow] = []
    tokens = 0
    for row in ordered:
        shared = _shared(waiting[-1][0], row[0]) if waiting and share else 0
        added = len(row[0]) - (shared if shared >= MIN_SHARED_TOKENS else 0)
        if waiting and tokens + added > max_tokens:
            yield _lay_out(waiting, share)
            waiting, tokens, added = [], 0, len(row[0])
        waiting.append(row)
        tokens += added
    if waiting:
        yield _lay_out(waiting, share)


def _shared(one: Ids, other: Ids) -> int:
    """Length of the common beginning."""
    n = min(len(one), len(other))
    different = np.flatnonzero(one[:n] != other[:n])
    return int(different[0]) if len(different) else n


def _lay_out(rows: Sequence[TokenRow], share: bool) -> Pack:
    layout = _Layout()
    if share:
        layout.grow(rows, depth=0, parent=-1, before=-1)
    else:
        for row in rows:
            layout.grow([row], depth=0, parent=-1, before=-1)
    return layout.pack()


@dataclass
class _Layout:
    ids: list[Ids] = field(default_factory=list)
    positions: list[NDArray[np.int64]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    labels: list[tuple[int, int, float]] = field(default_factory=list)
    end: int = 0

    def grow(self, rows: Sequence[TokenRow], depth: int, parent: int, before: int) -> None:
        """Add sorted rows, equal up to `depth`, below `parent`, whose last token is `before`."""
        rows = [row for row in rows if len(row[0]) > depth]
        while rows:
            count, common = _family(rows, depth)
            family, rows = rows[:count], rows[count:]
            self._segment(family, depth, common, parent, before)
            index, last = len(self.segments) - 1, self.end - 1
            if count > 1:
                self.grow(family, common, index, last)

    def _segment(
        self, family: Sequence[TokenRow], depth: int, common: int, parent: int, before: int
    ) -> None:
        ids = family[0][0][depth:common]
        weights = np.zeros(common - depth, np.float32)
        for _, loss in family:
            weights += loss[depth:common]
        for at in np.flatnonzero(weights):
            source = self.end + int(at) - 1 if at else before
            if source >= 0:  # nothing precedes a row's first token, so it can't be predicted
                self.labels.append((source, int(ids[at]), float(weights[at])))
        self.ids.append(ids)
        self.positions.append(np.arange(depth, common))
        self.segments.append(Segment(self.end, self.end + len(ids), parent))
        self.end += len(ids)

    def pack(self) -> Pack:
        sources, targets, weights = zip(*self.labels, strict=True) if self.labels else ((), (), ())
        return Pack(
            ids=np.concatenate(self.ids).astype(np.int64),
            positions=np.concatenate(self.positions),
            segments=tuple(self.segments),
            sources=np.array(sources, np.int64),
            targets=np.array(targets, np.int64),
            weights=np.array(weights, np.float32),
        )


def _family(rows: Sequence[TokenRow], depth: int) -> tuple[int, int]:
    """How many of the first rows share enough beyond `depth`, and up to where they all do."""
    common = len(rows[0][0])
    count = 1
    for left, right in pairwise(rows):
        shared = _shared(left[0], right[0])
        if shared - depth < MIN_SHARED_TOKENS:
            break
        common = min(common, shared)
        count += 1
    return count, common
