"""How values are dealt to splits: by their own digest, so that a value is in one split for ever.

`train` is learnt from, `dev` and `dev2` are tuned on. `test` has words and forms that stand in
none of these, `test-kinds` the same and kinds of task besides that no other split has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from random import Random
from typing import get_args

from agentlm.environments.task import Split

SPLITS: tuple[Split, ...] = get_args(Split)
_TENTHS: tuple[Split, ...] = ("train",) * 6 + ("dev", "dev2", "test", "test-kinds")
"""The split of each tenth of what is dealt."""


def split_of(value: str) -> Split:
    """The one split that `value` may appear in: 6 of 10 train, 1 of 10 each of the others."""
    return _TENTHS[hashlib.sha256(value.encode()).digest()[0] * 10 // 256]


def in_split(values: Iterable[str], split: Split) -> list[str]:
    """Those of `values` that belong to `split`, in their order."""
    return [value for value in values if split_of(value) == split]


def deal(values: Collection[str]) -> dict[str, Split]:
    """A split for each of a fixed set: shares as above, though the set be small."""
    ordered = sorted(values, key=lambda value: hashlib.sha256(value.encode()).digest())
    return {value: _TENTHS[10 * place // len(ordered)] for place, value in enumerate(ordered)}


def task_random(environment: str, split: Split, seed: int, index: int) -> Random:
    """Chance for one generated task, the same on every machine."""
    return Random(f"{environment}/{split}/{seed}/{index}")
