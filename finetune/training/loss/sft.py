"""Imitation: every trained token should become likelier. Distilled rows stay as likely as they
were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from agentlm.finetune.training.loss.objective import Sums
from agentlm.finetune.training.packing import Pack
from agentlm.finetune.training.transfer import sent


class Imitation:
    """Σ weight · -log p over the trained tokens; for a step, their mean. Where rows are distilled,
    the divergence from the base stands in place of -log p."""

    def __init__(self) -> None:
        self._sums = Sums("distilled", "divergence")

    def loss(self, log_probabilities: Tensor, pack: Pack) -> Tensor:
        weights = sent(pack.weights, log_probabilities.device)
        return -(log_probabilities * weights).sum()

    def distill(self, divergences: Tensor, pack: Pack) -> Tensor:
        """The loss of a distilled pack from its tokens' divergences (`distill`)."""
        weights = sent(pack.weights, divergences.device)
        total = (divergences * weights).sum()
        self._sums.add(weights.sum(), total.detach())
        return total

    def weight(self, packs: Sequence[Pack]) -> float:
        """The number of trained tokens, counted once for each row that has them."""
        return sum(float(pack.weights.sum()) for pack in packs)

    def take_sums(self) -> dict[str, float]:
        return self._sums.take()

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The mean divergence of a step's distilled tokens, if it has any."""
        tokens = sums["distilled"]
        return {"divergence": sums["divergence"] / tokens} if tokens else {}
