"""The loss of a pack: logits only where a token is trained on, a chunk of them at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from agentlm.finetune.training.attention import PackLayout
from agentlm.finetune.training.packing import Pack

CHUNK_TOKENS = 256
"""Tokens whose logits exist at once: 50 MB at a vocabulary of 49,152 in float32."""


class PackLoss(nn.Module):
    """A causal language model that is given packs and returns their summed loss."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pack: Pack) -> Tensor:
        """Σ weight · -log p(target), over all trained tokens of the pack."""
        hidden = self.hidden(pack)
        device = hidden.device
        targets = torch.from_numpy(pack.targets).to(device)
        weights = torch.from_numpy(pack.weights).to(device)
        head = self.model.get_output_embeddings()
        total = hidden.new_zeros((), dtype=torch.float32)
        for begin in range(0, len(targets), CHUNK_TOKENS):
            part = slice(begin, begin + CHUNK_TOKENS)
            total = total + checkpoint(
                _chunk_loss, head, hidden[part], targets[part], weights[part], use_reentrant=False
            )
        return total

    def hidden(self, pack: Pack) -> Tensor:
        """Last hidden states from which the trained tokens are predicted."""
        weight = self.model.get_input_embeddings().weight
        dtype = next(self.model.parameters()).dtype
        layout = PackLayout(pack.segments, weight.device, dtype)
        states: Tensor = self.model.base_model(
            input_ids=torch.from_numpy(pack.ids).to(weight.device)[None],
            position_ids=torch.from_numpy(pack.positions).to(weight.device)[None],
            use_cache=False,
            layout=layout,
        ).last_hidden_state
        return states[0, torch.from_numpy(pack.sources).to(weight.device)]


def _chunk_loss(head: nn.Module, hidden: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    logits = head(hidden).float()
    return (cross_entropy(logits, targets, reduction="none") * weights).sum()
