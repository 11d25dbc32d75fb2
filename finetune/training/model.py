"""The trained model: a base with a LoRA adapter, or with all weights trainable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from agentlm.errors import OperatorError
from agentlm.finetune.settings import Precision, Quantization, Training
from agentlm.finetune.training import bits
from agentlm.finetune.training.attention import PACK_ATTENTION, refusal, register
from agentlm.finetune.training.gated import keep_less
from agentlm.finetune.training.loss.objective import Objective
from agentlm.finetune.training.loss.pack_loss import PackLoss
from agentlm.finetune.training.processes import device


def training_dtype(precision: Precision = "auto") -> torch.dtype:
    """What a model is computed in; `auto` is bfloat16 where the hardware has units for it."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # Only AMX: AVX-512's bfloat16 instructions alone gain less than the conversions cost.
    return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32


def load(
    directory: Path, adapter: Path | None, dtype: torch.dtype, quantize: Quantization = "none"
) -> Any:
    """A model as it is saved: transformers' own, or PEFT's if there is an adapter. Its matrices can
    be quantized on the way."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    register()
    fewer_bits = bits.nf4(dtype) if quantize == "nf4" else {}
    model = AutoModelForCausalLM.from_pretrained(
        directory, attn_implementation=PACK_ATTENTION, dtype=dtype, **fewer_bits
    )
    if fewer_bits:
        bits.keep_layout(model)
    if adapter is None:
        return model
    return PeftModel.from_pretrained(model, adapter, is_trainable=True)


def load_for_training(directory: Path, adapter: Path | None, training: Training) -> Any:
    """The model to train: with a new adapter, the base's own adapter continued, or all weights."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(training.seed)
    dtype = training_dtype(training.precision)
    model = load(directory, adapter, dtype, training.quantize)
    if training.full:
        model = model.merge_and_unload() if adapter else model
        model.requires_grad_(True)
    elif adapter is None:
        check_targets(model, training.lora_targets)
        config = LoraConfig(
            r=training.lora_rank,
            lora_alpha=training.lora_alpha,
            lora_dropout=training.lora_dropout,
            target_modules=list(training.lora_targets) or "all-linear",
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(model, config)
    else:
        check_continued(model.peft_config["default"], training)
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    elif training.chosen_stage != 3:  # stage 3 gathers a matrix when its module is entered
        keep_less(model)
    return model.train()


def check_targets(model: Any, targets: Sequence[str]) -> None:
    """Raise OperatorError for a target that matches no matrix; PEFT ignores it if others match."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in linear):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
            raise OperatorError(f"--lora-targets: there is no matrix {target}; known: {known}")


def check_continued(config: Any, training: Training) -> None:
    """Raise OperatorError for a setting that was given and differs from the continued adapter's."""
    targets = tuple(sorted(config.target_modules))
    for name, own, requested in (
        ("lora_rank", config.r, training.lora_rank),
        ("lora_alpha", config.lora_alpha, training.lora_alpha),
        ("lora_targets", targets, tuple(sorted(training.lora_targets))),
        ("lora_dropout", config.lora_dropout, training.lora_dropout),
    ):
        if name in training.model_fields_set and requested != own:
            raise OperatorError(
                f"--{name.replace('_', '-')} {requested}: the adapter that goes on has {own}; "
                "leave it out, or merge the adapter first (agentlm models merge)"
            )


def choose_attention(loss: PackLoss, dtype: torch.dtype) -> str | None:
    """Make a pack's attention one call on the device that trains. Returns why it can't be."""
    why_not = refusal(loss.model.config, dtype, device())
    loss.one_call = why_not is None
    return why_not


def pack_loss(model: Any, objective: Objective) -> PackLoss:
    """Wrap the model so that it takes packs. Training the result changes `model`."""
    return PackLoss(model.get_base_model() if hasattr(model, "peft_config") else model, objective)
