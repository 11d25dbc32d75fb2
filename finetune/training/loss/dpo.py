"""Pairs of tries at one task, one of them better.

    -log σ(β · (mean over the better's tokens of log π/π_ref - the same of the worse's))

is DPO (Rafailov et al. 2023, arXiv:2305.18290, equation 7) with log-ratios divided by the row's
length, as in Tülu 3 (Lambert et al. 2024, arXiv:2411.15124, section 5.1). π_ref is the model that
sampled, by its recorded probabilities, or else the weights that the training starts from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from agentlm.finetune.training.loss.contrast import credits, log_ratios
from agentlm.finetune.training.loss.objective import Sums
from agentlm.finetune.training.packing import Pack
from agentlm.finetune.training.transfer import sent


class Pairs:
    def __init__(self, beta: float) -> None:
        self._beta = beta
        self._sums = Sums("pairs", "right", "margins")

    def loss(self, log_probabilities: Tensor, pack: Pack) -> Tensor:
        ratios = log_ratios(log_probabilities, pack)
        pairs, place = np.unique(pack.pairs, return_inverse=True)
        sides = torch.sign(credits(pack)).to(ratios.device) * ratios
        margins = torch.zeros(len(pairs), device=ratios.device).index_add(
            0, sent(place, ratios.device), sides
        )
        seen = margins.detach()
        self._sums.add(torch.tensor(len(pairs)), (seen > 0).sum(), seen.sum())
        return -logsigmoid(self._beta * margins).sum()

    def weight(self, packs: Sequence[Pack]) -> float:
        """The number of pairs."""
        return sum(len(np.unique(pack.pairs)) for pack in packs)

    def take_sums(self) -> dict[str, float]:
        return self._sums.take()

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """How often, and by how much, the better row has gained on the worse one."""
        pairs = sums["pairs"]
        return {"accuracy": sums["right"] / pairs, "margin": sums["margins"] / pairs}
