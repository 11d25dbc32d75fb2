"""Fewer bits for what is kept, by bitsandbytes: a frozen base in 4, the optimizer's state in 8.

A base in NF4 with double quantization under an adapter is QLoRA (Dettmers et al. 2023,
arXiv:2305.14314); AdamW's state in blocks of 256 is from Dettmers et al. 2021, arXiv:2110.02861.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from agentlm.errors import OperatorError
from agentlm.finetune.settings import Training
from agentlm.finetune.training.processes import device


def check(training: Training, dtype: torch.dtype) -> None:
    """Try on this hardware what the training asks for. Raises OperatorError if it fails."""
    # On some processors it advises a package of kernels that can't be trained through.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if training.quantize != "none":
        _attempt(f"--quantize {training.quantize}", lambda: _try_nf4(dtype))
    if training.optimizer == "adamw8bit":
        _attempt("--optimizer adamw8bit", _try_adamw8bit)


def _attempt(flag: str, attempt: Callable[[], None]) -> None:
    try:
        attempt()
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OperatorError(
            f"{flag}: bitsandbytes can't do this on the hardware here ({device().type}): {reason}"
        ) from error


def _try_nf4(dtype: torch.dtype) -> None:
    from bitsandbytes.nn import LinearNF4

    linear = LinearNF4(64, 64, bias=False, compute_dtype=dtype).to(device())
    hidden = torch.ones(2, 64, dtype=dtype, device=device(), requires_grad=True)
    linear(hidden).sum().backward()
    if hidden.grad is None:
        raise RuntimeError("no gradient came back")


def _try_adamw8bit() -> None:
    # Smaller tensors would keep a state of 32 bits.
    weight = torch.nn.Parameter(torch.zeros(64, 64, device=device()))
    weight.grad = torch.ones_like(weight)
    adamw8bit([{"params": [weight], "weight_decay": 0.0}], lr=1.0, betas=(0.9, 0.95)).step()


def adamw8bit(
    groups: Sequence[dict[str, Any]], lr: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """AdamW whose two moments take a byte each; those of tensors below 4,096 values take four."""
    from bitsandbytes.optim import AdamW8bit

    optimizer: torch.optim.Optimizer = AdamW8bit(list(groups), lr=lr, betas=betas)
    return optimizer


def nf4(dtype: torch.dtype) -> dict[str, Any]:
    """What transformers' `from_pretrained` takes to keep all matrices in 4 bits but embeddings and
    output head. Each is quantized as it is read, on the device that trains."""
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config, "device_map": {"": device()}}


def keep_layout(model: torch.nn.Module) -> None:
    """Keep the matrices as they are when they are only evaluated.

    Where a CPU multiplies bfloat16 (AVX-512), bitsandbytes would arrange them for generation, for
    good, and no gradient comes back through that.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
