"""Answers with a thumb up or down, each alone.

With r the mean over a row's tokens of log π/π_ref, the loss is w · (1 - σ(β r)) for a good row, and
w · (1 - σ(-β r)) for a bad one. This is KTO (Ethayarajh et al. 2024, arXiv:2402.01306, equation 8)
with its point of reference z₀ at zero. In KTO, z₀ is the average movement of the model, estimated
from answers combined with other questions' prompts, which is a second pass over as many tokens.
Zero is where every r begins; APO-zero (D'Oosterlinck et al. 2024, arXiv:2408.06266) and its
unpaired form in TRL make the same choice. The weights w compensate for unequal numbers of good and
bad rows: together both kinds count the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agentlm.finetune.training.loss.contrast import credits, log_ratios
from agentlm.finetune.training.loss.objective import Sums
from agentlm.finetune.training.packing import Pack


class Thumbs:
    def __init__(self, beta: float) -> None:
        self._beta = beta
        self._sums = Sums("good", "bad", "good_margins", "bad_margins")

    def loss(self, log_probabilities: Tensor, pack: Pack) -> Tensor:
        ratios = log_ratios(log_probabilities, pack)
        credit = credits(pack).to(ratios.device)
        up, seen = credit > 0, ratios.detach()
        self._sums.add(up.sum(), (~up).sum(), seen[up].sum(), seen[~up].sum())
        missed = 1 - torch.sigmoid(self._beta * torch.sign(credit) * ratios)
        return (credit.abs() * missed).sum()

    def weight(self, packs: Sequence[Pack]) -> float:
        """The number of rows."""
        return sum(len(pack.rows) for pack in packs)

    def take_sums(self) -> dict[str, float]:
        return self._sums.take()

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """By how much the good rows have become likelier, and the bad ones."""
        good, bad = max(1.0, sums["good"]), max(1.0, sums["bad"])
        return {"margin_good": sums["good_margins"] / good, "margin_bad": sums["bad_margins"] / bad}
