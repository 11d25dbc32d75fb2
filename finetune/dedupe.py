"""Filters that remember what they have let through: near duplicates, and caps.

Their memory is fixed or grows only with what is counted (tasks, owners), never with the text seen.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from datasketch import MinHash

from agentlm.grammar import describe
from agentlm.trajectory import Trajectory

_PERMUTATIONS = 64
_BANDS = 8
"""With rows of 8: two texts meet in a band at even odds where 3 of 4 shingles are shared."""
_SHINGLE_WORDS = 3
_BITS = 1 << 29
_PROBES = 4
"""64 MB tell 8 million bands apart with one error in 90,000."""


class NearDuplicates:
    """Leaves out what says nearly the same about the same task as something before it.

    MinHash signatures in bands; a Bloom filter remembers the bands, so memory is constant.
    """

    def __init__(self) -> None:
        self._seen = np.zeros(_BITS // 8, np.uint8)
        self._first = MinHash(num_perm=_PERMUTATIONS, hashfunc=int)

    def __call__(self, trajectory: Trajectory) -> str | None:
        """See `Filter`; what is kept is remembered."""
        positions = [self._positions(band) for band in self._bands(trajectory)]
        known = any(self._has(at) for at in positions)
        for at in positions:
            np.bitwise_or.at(self._seen, at >> 3, (1 << (at & 7)).astype(np.uint8))
        return "nearly the same was kept before" if known else None

    def _bands(self, trajectory: Trajectory) -> Iterator[bytes]:
        signature = self._first.copy()
        signature.update_batch(_shingles(own_text(trajectory)))
        for index, band in enumerate(np.split(signature.hashvalues, _BANDS)):
            yield bytes([index]) + band.tobytes()

    def _has(self, at: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
        return bool(np.all(self._seen[at >> 3] >> (at & 7) & 1))

    def _positions(self, band: bytes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        digest = hashlib.blake2b(band, digest_size=4 * _PROBES).digest()
        return np.frombuffer(digest, np.uint32).astype(np.int64) % _BITS


class Cap:
    """Lets at most so many trajectories of one kind through; those without a kind all pass."""

    def __init__(self, most: int, kind: Callable[[Trajectory], str | None]) -> None:
        self._most = most
        self._kind = kind
        self._kept: Counter[str] = Counter()

    def __call__(self, trajectory: Trajectory) -> str | None:
        """See `Filter`; what is kept is counted."""
        kind = self._kind(trajectory)
        if kind is None:
            return None
        if self._kept[kind] >= self._most:
            return f"{self._most} of {kind} were kept before"
        self._kept[kind] += 1
        return None


def task_of(trajectory: Trajectory) -> str | None:
    """The task that was played, by its environment's name for it."""
    if trajectory.task_id is None:
        return None
    return f"{trajectory.environment or trajectory.source}/{trajectory.task_id}"


def own_text(trajectory: Trajectory) -> str:
    """What was asked, observed and said, without what all rows share: system text and tools."""
    text = "\n".join(step.text for step in trajectory.steps if step.role != "system")
    preamble = describe(trajectory.tools)
    return text.replace(preamble, "") if preamble else text


def _shingles(text: str) -> list[int]:
    """Hashes of each few consecutive words."""
    words = re.findall(r"\w+", text.lower()) or [text]
    hashes = np.array([_hash(word) for word in words], np.uint64)
    width = min(_SHINGLE_WORDS, len(hashes))
    mixed = np.zeros(len(hashes) - width + 1, np.uint64)
    for offset in range(width):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + hashes[offset : offset + len(mixed)]
    return (mixed >> np.uint64(32)).tolist()  # type: ignore[no-any-return]


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
