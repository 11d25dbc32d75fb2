"""Gated MLPs that keep less for the backward pass.

For `down(act(gate(x)) * up(x))`, autograd keeps the gate, its activation, the other factor and the
product, each as wide as the MLP: together half of what a layer keeps. Activation and product cost
next to nothing to compute again, so only the two factors are kept.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

GATED = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP")
"""Transformers' modules whose forward pass is exactly this."""


def keep_less(model: nn.Module) -> None:
    """Make the gated MLPs of a model compute their product again. Results stay bit for bit the
    same.

    MLPs with an adapter on the last projection are left out, since the adapter keeps the product
    anyway.
    """
    for module in model.modules():
        # A matrix of 4 bits is a kind of nn.Linear; one with an adapter is not.
        if type(module).__name__ in GATED and isinstance(module.down_proj, nn.Linear):
            module.forward = MethodType(_forward, module)


def _forward(mlp: Any, hidden: Tensor) -> Tensor:
    gate, up = mlp.gate_proj(hidden), mlp.up_proj(hidden)
    # Recomputation stops before the matrix product, where the last tensor it needs is complete.
    down: Tensor = checkpoint(_down, mlp, gate, up, use_reentrant=False)
    return down


def _down(mlp: Any, gate: Tensor, up: Tensor) -> Tensor:
    down: Tensor = mlp.down_proj(mlp.act_fn(gate) * up)
    return down
