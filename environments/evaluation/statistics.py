"""Intervals for rates and for differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_Z95 = 1.959963984540054
_RESAMPLES = 10_000

Interval = tuple[float, float]


def wilson(rate: float, count: int) -> Interval:
    """Wilson's 95% interval of a rate seen in `count` trials; (0, 1) for none."""
    if count == 0:
        return 0.0, 1.0
    z2 = _Z95**2 / count
    centre = (rate + z2 / 2) / (1 + z2)
    half = _Z95 * math.sqrt(rate * (1 - rate) / count + z2 / (4 * count)) / (1 + z2)
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_bootstrap(differences: Sequence[float], seed: int) -> Interval:
    """95% interval of the mean of paired differences, by resampling the pairs."""
    if not differences:
        return -1.0, 1.0
    values = np.asarray(differences, dtype=np.float64)
    chance = np.random.default_rng(seed)
    means = np.empty(_RESAMPLES)
    for index in range(_RESAMPLES):
        means[index] = values[chance.integers(0, len(values), len(values))].mean()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
