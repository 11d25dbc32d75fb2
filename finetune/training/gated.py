"""Gated MLPs that keep less for the backward pass.

Of `down(act(gate(x)) * up(x))` autograd keeps the gate, its activation, the other factor and the
product, each as wide as the MLP: together half of what a layer keeps. Activation and product cost
next to nothing to compute again, so only the two factors are kept.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

GATED = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP")
"""Transformers' modules whose forward pass is this and nothing else."""


def keep_less(model: nn.Module) -> None:
    """Let the gated MLPs of a model compute their product again; results stay bit for bit the same.

    Not those with an adapter on the last projection: its part of the product is kept anyway.
    """
    for module in model.modules():
        if type(module).__name__ in GATED and type(module.down_proj) is nn.Linear:
            module.forward = MethodType(_forward, module)


def _forward(mlp: Any, hidden: Tensor) -> Tensor:
    gate, up = mlp.gate_proj(hidden), mlp.up_proj(hidden)
    # What is computed again ends where the last tensor that is needed is had: before the matrix.
    down: Tensor = checkpoint(_down, mlp, gate, up, use_reentrant=False)
    return down


def _down(mlp: Any, gate: Tensor, up: Tensor) -> Tensor:
    down: Tensor = mlp.down_proj(mlp.act_fn(gate) * up)
    return down
