"""How values are dealt to splits: by their own digest, so that a value is in one split for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from random import Random

from agentlm.environments.task import Split

_TENTHS: tuple[Split, ...] = ("train",) * 7 + ("dev",) + ("test",) * 2


def split_of(value: str) -> Split:
    """The one split that `value` may appear in: 7 of 10 train, 1 dev, 2 test."""
    return _TENTHS[hashlib.sha256(value.encode()).digest()[0] * 10 // 256]


def in_split(values: Iterable[str], split: Split) -> list[str]:
    """Those of `values` that belong to `split`, in their order."""
    return [value for value in values if split_of(value) == split]


def task_random(environment: str, split: Split, seed: int, index: int) -> Random:
    """Chance for one generated task, the same on every machine."""
    return Random(f"{environment}/{split}/{seed}/{index}")
