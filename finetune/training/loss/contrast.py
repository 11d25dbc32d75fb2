"""What dpo and kto have in common: how much likelier a row has become, for each of its tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from agentlm.finetune.training.packing import Pack


def log_ratios(log_probabilities: Tensor, pack: Pack) -> Tensor:
    """For each row of the pack the mean over its tokens of log π - log π_ref.

    The mean and not the sum, so that a long row is not preferred or avoided for its length.
    """
    device = log_probabilities.device
    said = pack.row_tokens
    row = torch.from_numpy(said.row).to(device)
    apart = log_probabilities[torch.from_numpy(said.token).to(device)]
    apart = apart - torch.from_numpy(said.recorded).to(device)
    zeros = torch.zeros(len(pack.rows), device=device)
    sums = zeros.index_add(0, row, apart)
    return sums / zeros.index_add(0, row, torch.ones_like(apart)).clamp(min=1)


def credits(pack: Pack) -> Tensor:
    """For each row of the pack its credit, which all of its tokens share."""
    found = torch.zeros(len(pack.rows))
    found[torch.from_numpy(pack.row_tokens.row)] = torch.from_numpy(pack.row_tokens.credit)
    return found
