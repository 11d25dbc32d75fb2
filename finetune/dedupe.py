"""Filters that remember what they have let through: near duplicates, and caps.

Their memory is fixed or grows only with what is counted (tasks, owners), never with the text seen.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from agentlm.grammar import describe
from agentlm.trajectory import Trajectory

_PERMUTATIONS = 64
_BANDS = 8
"""With rows of 8: two texts meet in a band at even odds where 3 of 4 shingles are shared."""
_SHINGLE_BYTES = 16
_MOST_SHINGLES = 128
"""Those with the lowest hashes are looked at: equal texts agree on them."""
_LOWEST = 4 * _MOST_SHINGLES
"""Enough to leave as many once repeated ones are counted once."""
_BITS = 1 << 29
_PROBES = 4
"""64 MB tell 8 million bands apart with one error in 90,000."""


class NearDuplicates:
    """Leaves out what says nearly the same about the same task as something before it.

    MinHash signatures in bands; a Bloom filter remembers the bands, so memory is constant.
    """

    def __init__(self) -> None:
        self._seen = np.zeros(_BITS // 8, np.uint8)
        self._signature = MinHash(num_perm=_PERMUTATIONS, hashfunc=int)

    def __call__(self, trajectory: Trajectory) -> str | None:
        """See `Filter`; what is kept is remembered."""
        places = self._places(own_text(trajectory))
        bytes_, bits = places >> 3, np.uint8(1) << (places & 7).astype(np.uint8)
        known = ((self._seen[bytes_] & bits) != 0).all(axis=1).any()
        np.bitwise_or.at(self._seen, bytes_, bits)
        return "nearly the same was kept before" if known else None

    def _places(self, text: str) -> NDArray[np.uint32]:
        """(bands, probes): the bits that stand for the text's bands."""
        self._signature.clear()
        self._signature.update_batch(shingles(text))
        bands = self._signature.hashvalues.tobytes()
        width = len(bands) // _BANDS
        digests = b"".join(
            hashlib.blake2b(
                bands[band * width : (band + 1) * width],
                digest_size=4 * _PROBES,
                salt=bytes([band]),
            ).digest()
            for band in range(_BANDS)
        )
        return np.frombuffer(digests, np.uint32).reshape(_BANDS, _PROBES) % np.uint32(_BITS)


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


def shingles(text: str) -> list[int]:
    """Hashes of a sample of the text's runs of 16 bytes, whatever its language calls a word."""
    plain = " ".join(text.lower().split()).encode().ljust(_SHINGLE_BYTES)
    hashes = np.frombuffer(plain, np.uint8).astype(np.uint64)
    width = 1
    while width < _SHINGLE_BYTES:  # two neighbouring runs make one of twice the width
        hashes = hashes[:-width] * _PRIME + hashes[width:]
        hashes ^= hashes >> np.uint64(31)
        width *= 2
    # Of hashes as good as random, about so many are below such a bound.
    low = hashes[hashes < np.uint64(min(1.0, _LOWEST / len(hashes)) * _HIGHEST)]
    lowest = np.unique(low)[:_MOST_SHINGLES]
    if len(lowest) < _MOST_SHINGLES:
        lowest = np.unique(hashes)[:_MOST_SHINGLES]
    # The low half of what was chosen by its high half is as good as random.
    found: list[int] = (lowest & _LOW).tolist()
    return found


_PRIME = np.uint64(0x9E3779B97F4A7C15)
_HIGHEST = 0xFFFFFFFFFFFFF800
"""The largest number of 64 bits that is a float too."""
_LOW = np.uint64(0xFFFFFFFF)
