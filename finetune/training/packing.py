"""Packs: rows laid out so that shared parts are computed once, and rows don't affect each other.

A pack is a forest of **segments**. Rows with a common beginning (the system prompt and the tool
descriptions of every agent row) share its segment. Each row continues in its own segment, which
attends to its ancestors and itself, and whose positions continue theirs. A causal model computes
for a shared token exactly what it would compute in each row, so loss and gradients equal those of
separate rows. A trained token that several rows share counts once for each of them, and each row
may have its own values for it: its credit, and its log-probability when it was sampled.

    rows                     pack
    A B C d e                A B C ─┬─ d e
    A B C f          →              └─ f
    g h                      g h

The distribution of rows to packs does not affect the gradient of a step, only how much is computed
twice. There is no padding: a pack is as long as its distinct tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentlm.finetune.data.dataset import Ids, TokenRow

MIN_SHARED_TOKENS = 16
"""A shorter common beginning costs more to split off than to compute twice."""
_PACK_COST = 64
"""A pass of its own costs about as much as this many tokens more in another one."""


class Segment(NamedTuple):
    """Consecutive tokens of a pack; they attend to their ancestors and, causally, to each other."""

    start: int
    end: int
    """One past its last token in the pack."""
    parent: int
    """Index of the segment that it continues, or -1."""


class RowTokens(NamedTuple):
    """Values of single rows for a pack's trained tokens: one entry for each row and token."""

    token: NDArray[np.int64]
    """Index of the trained token in the pack."""
    row: NDArray[np.int64]
    """Index of the row in the pack."""
    credit: NDArray[np.float32]
    recorded: NDArray[np.float32]


@dataclass(frozen=True)
class Pack:
    """The input of one forward pass."""

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    """Position of each token in its row."""
    segments: tuple[Segment, ...]
    """Parents come before children. Together they cover the pack."""
    sources: NDArray[np.int64]
    """For each trained token, the index in the pack of the token before it, which predicts it."""
    targets: NDArray[np.int64]
    """The trained tokens."""
    weights: NDArray[np.float32]
    """Number of rows that each trained token stands for."""
    row_tokens: RowTokens
    """Entries of rows that are learned from by their reward; empty for imitated rows."""
    rows: NDArray[np.int64]
    """For each row, its number in its source."""
    pairs: NDArray[np.int64]
    """For each row, its pair, or -1."""
    distilled: bool = False
    """Whether its rows are distilled; imitated rows are in other packs."""

    def weightless(self) -> Pack:
        """The same computation without any loss, for a rank that has no packs left."""
        return replace(
            self,
            weights=np.zeros_like(self.weights),
            row_tokens=_NOTHING_SAID,
            rows=self.rows[:0],
            pairs=self.pairs[:0],
        )


_NOTHING_SAID = RowTokens(
    np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32)
)


def pack(rows: Iterable[TokenRow], max_tokens: int, *, share: bool = True) -> Iterator[Pack]:
    """Lay rows out in packs of at most `max_tokens` (a longer row gets a pack of its own).

    The rows of a pair are in one pack, imitated and distilled rows are not. `share=False` computes
    every row whole, still without attention between rows.
    """
    for _, kind in groupby(sorted(rows, key=_distilled), _distilled):
        bundles = sorted(_bundles(kind), key=lambda rows: rows[0].ids.tolist())
        for first, end in _cuts(bundles, max_tokens, share):
            yield _lay_out([row for bundle in bundles[first:end] for row in bundle], share)


def _distilled(row: TokenRow) -> bool:
    return row.distilled


def _cuts(
    bundles: Sequence[Sequence[TokenRow]], max_tokens: int, share: bool
) -> list[tuple[int, int]]:
    """Where packs of consecutive bundles begin and end, so that the least is computed in all.

    Where a pack begins, what its first row shares with the row before is computed again; so packs
    are cut between tasks rather than between tries at one.
    """
    alone = [_added([], bundle, share) for bundle in bundles]
    after = [0, *(_added(before, bundle, share) for before, bundle in pairwise(bundles))]
    best = [(0, 0)]  # of the first n bundles: the least cost, and where their last pack begins
    for end in range(1, len(bundles) + 1):
        choices, rest = [], 0
        for first in range(end - 1, -1, -1):
            size = alone[first] + rest
            if size > max_tokens and first < end - 1:
                break
            choices.append((best[first][0] + size + _PACK_COST, first))
            rest += after[first]
        best.append(min(choices))
    cuts: list[tuple[int, int]] = []
    end = len(bundles)
    while end:
        first = best[end][1]
        cuts.append((first, end))
        end = first
    return cuts[::-1]


def _bundles(rows: Iterable[TokenRow]) -> list[list[TokenRow]]:
    """Group rows that must be in one pack."""
    single: list[list[TokenRow]] = []
    paired: dict[int, list[TokenRow]] = {}
    for row in rows:
        if row.pair < 0:
            single.append([row])
        else:
            paired.setdefault(row.pair, []).append(row)
    return single + list(paired.values())


def _added(preceding: Sequence[TokenRow], bundle: Sequence[TokenRow], share: bool) -> int:
    """An upper bound for the tokens that a bundle adds: it is compared with only one row."""
    added = 0
    before = preceding[-1:]
    for row in bundle:
        shared = _shared(before[0].ids, row.ids) if before and share else 0
        added += len(row.ids) - (shared if shared >= MIN_SHARED_TOKENS else 0)
        before = [row]
    return added


def _shared(one: Ids, other: Ids) -> int:
    """Length of the common beginning."""
    n = min(len(one), len(other))
    different = np.flatnonzero(one[:n] != other[:n])
    return int(different[0]) if len(different) else n


def _lay_out(rows: Sequence[TokenRow], share: bool) -> Pack:
    layout = _Layout(sorted(rows, key=lambda row: row.ids.tolist()))
    every = range(len(rows))
    for members in [every] if share else [[member] for member in every]:
        layout.grow(members, depth=0, parent=-1, before=-1)
    return layout.pack()


@dataclass
class _Layout:
    rows: list[TokenRow]
    """Sorted."""
    ids: list[Ids] = field(default_factory=list)
    positions: list[NDArray[np.int64]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    sources: list[NDArray[np.int64]] = field(default_factory=list)
    targets: list[NDArray[np.int64]] = field(default_factory=list)
    weights: list[NDArray[np.float32]] = field(default_factory=list)
    row_tokens: list[RowTokens] = field(default_factory=lambda: [_NOTHING_SAID])
    end: int = 0
    trained: int = 0

    def grow(self, members: Sequence[int], depth: int, parent: int, before: int) -> None:
        """Add rows, equal up to `depth`, below `parent`, whose last token is `before`."""
        members = [member for member in members if len(self.rows[member].ids) > depth]
        while members:
            count, common = _family([self.rows[member] for member in members], depth)
            family, members = members[:count], members[count:]
            self._segment(family, depth, common, parent, before)
            index, last = len(self.segments) - 1, self.end - 1
            if count > 1:
                self.grow(family, common, index, last)

    def _segment(
        self, family: Sequence[int], depth: int, common: int, parent: int, before: int
    ) -> None:
        ids = self.rows[family[0]].ids[depth:common]
        weights = np.zeros(common - depth, np.float32)
        for member in family:
            weights += self.rows[member].loss[depth:common]
        if before < 0:
            weights[0] = 0  # nothing precedes a row's first token, so it can't be predicted
        at = np.flatnonzero(weights)
        self.sources.append(np.where(at > 0, self.end + at - 1, before))
        self.targets.append(ids[at].astype(np.int64))
        self.weights.append(weights[at])
        self.row_tokens += [self._values_of(member, depth, at) for member in family]
        self.trained += len(at)
        self.ids.append(ids)
        self.positions.append(np.arange(depth, common))
        self.segments.append(Segment(self.end, self.end + len(ids), parent))
        self.end += len(ids)

    def _values_of(self, member: int, depth: int, at: NDArray[np.int64]) -> RowTokens:
        """A row's values for the trained tokens at these places of a segment."""
        row = self.rows[member]
        if row.credit is None or row.recorded is None:
            return _NOTHING_SAID
        own = np.flatnonzero(row.loss[depth + at])
        places = depth + at[own]
        return RowTokens(
            token=self.trained + own,
            row=np.full(len(own), member),
            credit=row.credit[places],
            recorded=row.recorded[places],
        )

    def pack(self) -> Pack:
        return Pack(
            ids=np.concatenate(self.ids).astype(np.int64),
            positions=np.concatenate(self.positions),
            segments=tuple(self.segments),
            sources=np.concatenate(self.sources),
            targets=np.concatenate(self.targets),
            weights=np.concatenate(self.weights),
            row_tokens=RowTokens(*map(np.concatenate, zip(*self.row_tokens, strict=True))),
            rows=np.array([row.number for row in self.rows], np.int64),
            pairs=np.array([row.pair for row in self.rows], np.int64),
            distilled=self.rows[0].distilled,
        )


def _family(rows: Sequence[TokenRow], depth: int) -> tuple[int, int]:
    """How many of the first rows share enough beyond `depth`, and up to where all of them do."""
    common = len(rows[0].ids)
    count = 1
    for left, right in pairwise(rows):
        shared = _shared(left.ids, right.ids)
        if shared - depth < MIN_SHARED_TOKENS:
            break
        common = min(common, shared)
        count += 1
    return count, common
