"""What every method says of a pack, and how packs, processes and steps are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from agentlm.finetune.training.packing import Pack


class Objective(Protocol):
    """Makes a loss of log-probabilities."""

    def loss(self, log_probabilities: Tensor, pack: Pack) -> Tensor:
        """Summed over what the pack holds, so that packs can be added; of no rows it is zero."""
        ...

    def weight(self, packs: Sequence[Pack]) -> float:
        """What the sum of a step is divided by."""
        ...

    def take_sums(self) -> dict[str, float]:
        """What was measured beside the loss since the last time, to be added over processes."""
        ...

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """What the added sums of a step say."""
        ...


class Sums:
    """Numbers that are added up while packs go by, and taken at the end of a step."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._sums = dict.fromkeys(names, 0.0)

    def add(self, *values: Tensor) -> None:
        """Add one value for each name."""
        for name, value in zip(self._names, values, strict=True):
            self._sums[name] += float(value)

    def take(self) -> dict[str, float]:
        """All sums; from now on they are zero."""
        taken, self._sums = self._sums, dict.fromkeys(self._names, 0.0)
        return taken
