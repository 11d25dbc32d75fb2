"""Filters that remember what they have passed: near duplicates, and caps.

Their memory is fixed or grows only with what is counted (tasks, owners), never with the text seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from agentlm.prompt.preamble import preamble_in
from agentlm.trajectory import Trajectory

NEAR_DUPLICATE = "near_duplicate"
_SLOTS = 64
_BANDS = 8
"""Bands of 8 hashes: two texts that share 3 of 4 shingles have even odds to meet in one."""
_SHINGLE_BYTES = 14
"""Without white space: about three English words."""
_WORDS = 1 << 23
"""64 MB: 64 bits each tell 8 million bands apart, with one error in 15,000."""


class NearDuplicates:
    """Leaves out rows that say nearly the same about the same task as an earlier row.

    MinHash signatures in bands. A Bloom filter of constant size remembers the bands. The five bits
    of a band are in one word of it, so each look-up costs one memory access.
    """

    def __init__(self) -> None:
        self._seen = memoryview(bytearray(8 * _WORDS)).cast("Q")

    def __call__(self, trajectory: Trajectory) -> str | None:
        known = [self._remember(band) for band in _bands(own_text(trajectory))]
        return "nearly the same was kept before" if any(known) else None

    def _remember(self, band: int) -> bool:
        """Add this hash. Returns whether it was there before."""
        place = band % _WORDS
        bits = 0
        for shift in _BIT_PLACES:
            bits |= 1 << (band >> shift & 63)
        before = self._seen[place]
        self._seen[place] = before | bits
        return before & bits == bits


_BIT_PLACES = range(23, 53, 6)
"""The bits of a hash that are not used for the place in the filter."""


class Cap:
    """Passes a limited number of trajectories of each kind. Those without a kind always pass."""

    def __init__(self, most: int, kind: Callable[[Trajectory], str | None]) -> None:
        self._most = most
        self._kind = kind
        self._kept: Counter[str] = Counter()

    def __call__(self, trajectory: Trajectory) -> str | None:
        kind = self._kind(trajectory)
        if kind is None:
            return None
        if self._kept[kind] >= self._most:
            return f"{self._most} of {kind} were kept before"
        self._kept[kind] += 1
        return None


def task_of(trajectory: Trajectory) -> str | None:
    """The task that was played, by its name in the environment."""
    if trajectory.task_id is None:
        return None
    return f"{trajectory.environment or trajectory.source}/{trajectory.task_id}"


def own_text(trajectory: Trajectory) -> str:
    """The conversation's own text, without system text and tools, which many rows share."""
    text = "\n".join([step.text for step in trajectory.steps if step.role != "system"])
    return text.replace(preamble_in(text, trajectory.tools), "") if trajectory.tools else text


def _bands(text: str) -> Iterator[int]:
    """A hash of each band of the text's MinHash signature."""
    hashes = shingles(text)
    one_row = (0, len(hashes))
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, one_row, _SLOTS, 0)
    signature = matrix.to_rows()[0]
    width = _SLOTS // _BANDS
    for start in range(0, _SLOTS, width):
        yield hash((start, *signature[start : start + width]))


def shingles(text: str) -> NDArray[np.uint64]:
    """Hashes of the text's runs of 14 bytes, so that words of any language count."""
    plain = text.lower().encode().translate(None, _SPACE).ljust(_SHINGLE_BYTES)
    runs = np.ndarray(len(plain) - 7, np.uint64, plain, strides=(1,))  # 8 bytes from each byte on
    apart = _SHINGLE_BYTES - 8
    hashes: NDArray[np.uint64] = runs[:-apart] * _PRIME
    hashes ^= runs[apart:]
    hashes *= _PRIME
    hashes ^= hashes >> np.uint64(32)
    return hashes


_SPACE = b" \t\n\r\v\f"
_PRIME = np.uint64(0x9E3779B97F4A7C15)
