"""Intervals for rates and for differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_Z95 = 1.959963984540054
_RESAMPLES = 10_000
_AT_ONCE = 500
"""Resamples drawn together: fast, and small beside the tasks."""

Interval = tuple[float, float]


def wilson(rate: float, count: int) -> Interval:
    """Wilson's 95% interval of a rate seen in `count` trials; (0, 1) for none."""
    if count == 0:
        return 0.0, 1.0
    z2 = _Z95**2 / count
    centre = (rate + z2 / 2) / (1 + z2)
    half = _Z95 * math.sqrt(rate * (1 - rate) / count + z2 / (4 * count)) / (1 + z2)
    return max(0.0, centre - half), min(1.0, centre + half)


def pass_at(k: int, tries: int, solved: int) -> float:
    """Chance that at least one of `k` of these tries is solved: the unbiased estimate."""
    if tries < k:
        raise ValueError(f"pass@{k} of {tries} tries")
    return 1 - math.comb(tries - solved, k) / math.comb(tries, k)


def paired_bootstrap(
    differences: Sequence[float],
    seed: int,
    clusters: Sequence[str] | None = None,
    sizes: Sequence[float] | None = None,
) -> Interval:
    """95% interval of the mean of paired differences, by resampling clusters of pairs.

    Tasks over one schema or scene are solved or missed together, so it is clusters that are drawn;
    without any, every pair is one of its own. With `sizes`, a difference is a sum over so many.
    """
    if not differences:
        return -1.0, 1.0
    of_cluster = np.unique(clusters or np.arange(len(differences)), return_inverse=True)[1]
    sums, counts = np.bincount(of_cluster, differences), np.bincount(of_cluster, sizes)
    chance = np.random.default_rng(seed)
    means = np.empty(_RESAMPLES)
    for begin in range(0, _RESAMPLES, _AT_ONCE):
        drawn = chance.integers(0, len(sums), (_AT_ONCE, len(sums)))
        means[begin : begin + _AT_ONCE] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
