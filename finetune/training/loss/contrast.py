"""Shared by dpo and kto: how much likelier a row has become, per token."""

from __future__ import annotations

import torch
from torch import Tensor

from agentlm.finetune.training.packing import Pack
from agentlm.finetune.training.transfer import sent


def log_ratios(log_probabilities: Tensor, pack: Pack) -> Tensor:
    """For each row of the pack, the mean over its tokens of log π - log π_ref.

    It is the mean and not the sum, so that a row's length does not make it preferred or avoided.
    """
    device = log_probabilities.device
    row_tokens = pack.row_tokens
    row = sent(row_tokens.row, device)
    apart = log_probabilities[sent(row_tokens.token, device)]
    apart = apart - sent(row_tokens.recorded, device)
    zeros = torch.zeros(len(pack.rows), device=device)
    sums = zeros.index_add(0, row, apart)
    return sums / zeros.index_add(0, row, torch.ones_like(apart)).clamp(min=1)


def credits(pack: Pack) -> Tensor:
    """The credit of each row of the pack, which all of its tokens share."""
    credit = torch.zeros(len(pack.rows))
    credit[torch.from_numpy(pack.row_tokens.row)] = torch.from_numpy(pack.row_tokens.credit)
    return credit
