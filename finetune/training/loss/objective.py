"""The contract of a method's loss, and how packs, processes and steps are combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from agentlm.finetune.training.packing import Pack


class Objective(Protocol):
    """Makes a loss from log-probabilities."""

    def loss(self, log_probabilities: Tensor, pack: Pack) -> Tensor:
        """Summed over the pack's rows, so that packs can be added; zero if it has no rows."""
        ...

    def weight(self, packs: Sequence[Pack]) -> float:
        """The divisor of a step's sum."""
        ...

    def take_sums(self) -> dict[str, float]:
        """Other measurements since the last call, to be added over processes."""
        ...

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Metrics from the added sums of a step."""
        ...


class Sums:
    """Numbers that are added up over packs, and taken at the end of a step."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._sums: dict[str, Tensor | float] = dict.fromkeys(names, 0.0)

    def add(self, *values: Tensor) -> None:
        """Add one value for each name, where it is: the host does not wait for a device."""
        for name, value in zip(self._names, values, strict=True):
            self._sums[name] = self._sums[name] + value.detach().double()

    def take(self) -> dict[str, float]:
        """Return all sums and set them to zero."""
        taken, self._sums = self._sums, dict.fromkeys(self._names, 0.0)
        return {name: float(value) for name, value in taken.items()}
