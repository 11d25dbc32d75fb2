"""Imitation: every trained token should become likelier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agentlm.finetune.training.packing import Pack


class Imitation:
    """Σ weight · -log p over the trained tokens; for a step, their mean."""

    def loss(self, log_probabilities: Tensor, pack: Pack) -> Tensor:
        weights = torch.from_numpy(pack.weights).to(log_probabilities.device)
        return -(log_probabilities * weights).sum()

    def weight(self, packs: Sequence[Pack]) -> float:
        """The number of trained tokens, counted once for each row that has them."""
        return sum(float(pack.weights.sum()) for pack in packs)

    def take_sums(self) -> dict[str, float]:
        return {}

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {}
