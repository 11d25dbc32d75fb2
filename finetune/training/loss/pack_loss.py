"""The loss of a pack: logits are computed only for trained tokens, and only some at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from agentlm.finetune.training.attention import PackLayout
from agentlm.finetune.training.loss.distill import divergences, without_adapter
from agentlm.finetune.training.loss.objective import Objective
from agentlm.finetune.training.loss.sft import Imitation
from agentlm.finetune.training.packing import Pack
from agentlm.finetune.training.transfer import sent

_CHUNK_BYTES = 48 * 2**20
"""Logits that exist at once on a CPU, in float32: 256 tokens' at a vocabulary of 49,152."""
_CHUNK_SHARE = 64
"""On a GPU, one part in so many of its memory: a few large products keep it busy."""


class PackLoss(nn.Module):
    """A causal language model that takes packs and returns their summed loss."""

    def __init__(self, model: Any, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.one_call = False
        """Whether the attention of a pack is one call (`attention.refusal`)."""

    def forward(self, pack: Pack) -> Tensor:
        """The loss of the pack's trained tokens: the objective's, or that of distillation."""
        if pack.distilled:
            assert isinstance(self.objective, Imitation)
            return self.objective.distill(self.divergences(pack), pack)
        return self.objective.loss(self.log_probabilities(pack), pack)

    def log_probabilities(self, pack: Pack) -> Tensor:
        """Log-probability of every trained token of the pack."""
        hidden = self.hidden(pack)
        targets = sent(pack.targets, hidden.device)
        return self._by_chunks(_log_probabilities, hidden, targets)

    def divergences(self, pack: Pack) -> Tensor:
        """KL from the base at every trained token of the pack."""
        with without_adapter(self.model):
            of_base = self.hidden(pack)
        return self._by_chunks(divergences, self.hidden(pack), of_base)

    def hidden(self, pack: Pack) -> Tensor:
        """Last hidden states, from which the trained tokens are predicted."""
        weight = self.model.get_input_embeddings().weight
        dtype = next(self.model.parameters()).dtype
        layout = PackLayout(pack.segments, weight.device, dtype, self.one_call)
        states: Tensor = self.model.base_model(
            input_ids=sent(pack.ids, weight.device)[None],
            position_ids=sent(pack.positions, weight.device)[None],
            use_cache=False,
            layout=layout,
        ).last_hidden_state
        return states[0, sent(pack.sources, weight.device)]

    def _by_chunks(
        self, values: Callable[[nn.Module, Tensor, Tensor], Tensor], hidden: Tensor, beside: Tensor
    ) -> Tensor:
        """A value for each trained token from its hidden state and what stands beside it. Logits
        exist for some tokens at a time, and are computed again in the backward pass."""
        head = self.model.get_output_embeddings()
        tokens = chunk_tokens(head.out_features, hidden.device)
        chunks = [slice(at, at + tokens) for at in range(0, len(hidden), tokens)]
        parts = [
            checkpoint(values, head, hidden[it], beside[it], use_reentrant=False) for it in chunks
        ]
        return torch.cat([hidden.new_zeros(0, dtype=torch.float32), *parts])


def chunk_tokens(vocabulary: int, device: torch.device) -> int:
    """Tokens whose logits exist at once on this device."""
    room = _CHUNK_BYTES
    if device.type == "cuda":
        room = torch.cuda.get_device_properties(device).total_memory // _CHUNK_SHARE
    return max(1, room // (vocabulary * torch.float32.itemsize))


def _log_probabilities(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    return -cross_entropy(head(hidden).float(), targets, reduction="none")
