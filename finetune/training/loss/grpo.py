"""Learning from the rewards of many tries at one task.

With A the reward of a try minus the mean of its group, π the model that is trained, μ the recorded
probability of the model that sampled, sg "no gradient", and c the cap, the loss of a sampled token
is

    -sg(min(π/μ, c)) · A · log π

and that of a step the sum over its tokens divided by a constant. The importance weight is that of
IMPALA's V-trace policy gradient, min(ρ̄, π/μ) (Espeholt et al. 2018, arXiv:1802.01561, section 4.2;
CISPO of MiniMax-M1, arXiv:2506.13585, equation 4, uses it for language models): a token that is
far from what was sampled loses weight, but never its gradient, as PPO's clipping would have it.
That A is not divided by the group's deviation, nor the sum by the lengths of the tries, is Dr. GRPO
(Liu et al. 2025, arXiv:2503.20783): both would make easy tasks and long failures count more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agentlm.finetune.training.loss.objective import Sums
from agentlm.finetune.training.packing import Pack
from agentlm.finetune.training.transfer import sent

_FARTHEST = 20.0
"""Larger log-ratios count as this one, whose square is still finite."""


class GroupedRewards:
    def __init__(self, cap: float, tokens_per_step: float) -> None:
        self._cap = cap
        self._tokens_per_step = tokens_per_step
        self._sums = Sums("tokens", "ratios", "squares", "capped", "gain")

    def loss(self, log_probabilities: Tensor, pack: Pack) -> Tensor:
        device = log_probabilities.device
        row_tokens = pack.row_tokens
        own = log_probabilities[sent(row_tokens.token, device)]
        recorded = sent(row_tokens.recorded, device)
        ratio = (own.detach() - recorded).clamp(-_FARTHEST, _FARTHEST).exp()
        capped = ratio.clamp(max=self._cap)
        credit = sent(row_tokens.credit, device)
        number = torch.tensor(len(ratio))
        over, gain = (ratio > self._cap).sum(), ((capped - 1) * credit).sum()
        self._sums.add(number, ratio.sum(), ratio.square().sum(), over, gain)
        return -(capped * credit * own).sum()

    def weight(self, packs: Sequence[Pack]) -> float:
        """The same for every step: the mean number of trained tokens of the plan's steps."""
        return self._tokens_per_step

    def take_sums(self) -> dict[str, float]:
        return self._sums.take()

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The effective sample size is 1 where π equals μ, and falls as they differ.

        The expected gain is the mean of min(π/μ, c) - 1 times the advantage: above 0 the tokens of
        good tries have become likelier, or those of bad ones less likely.
        """
        tokens, ratios, squares = sums["tokens"], sums["ratios"], sums["squares"]
        return {
            "ratio": ratios / tokens,
            "capped": sums["capped"] / tokens,
            "effective_sample_size": ratios**2 / (tokens * squares),
            "expected_gain": sums["gain"] / tokens,
        }
