"""The model that is trained: a base, with a LoRA adapter on it or with all weights free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from agentlm.finetune.settings import Training
from agentlm.finetune.training.attention import PACK_ATTENTION, register
from agentlm.finetune.training.gated import keep_less
from agentlm.finetune.training.loss.objective import Objective
from agentlm.finetune.training.loss.pack_loss import PackLoss


def training_dtype() -> torch.dtype:
    """Bfloat16 where the hardware computes in it, float32 elsewhere."""
    if torch.cuda.is_available() and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32


def load(directory: Path, adapter: Path | None, dtype: torch.dtype | None = None) -> Any:
    """A model as it is saved: transformers' own, or PEFT's if there is an adapter."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    register()
    model = AutoModelForCausalLM.from_pretrained(
        directory, attn_implementation=PACK_ATTENTION, dtype=dtype or training_dtype()
    )
    if adapter is None:
        return model
    return PeftModel.from_pretrained(model, adapter, is_trainable=True)


def load_for_training(directory: Path, adapter: Path | None, training: Training) -> Any:
    """The model to train: a new adapter, the base's own adapter going on, or all weights."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(training.seed)
    model = load(directory, adapter)
    if training.full:
        model = model.merge_and_unload() if adapter else model
        model.requires_grad_(True)
    elif adapter is None:
        config = LoraConfig(
            r=training.lora_rank,
            lora_alpha=training.lora_alpha,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(model, config)
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    elif training.zero_stage != 3:  # there a matrix is gathered when its module is entered
        keep_less(model)
    return model.train()


def pack_loss(model: Any, objective: Objective) -> PackLoss:
    """The model as something that takes packs. Training it changes `model`."""
    return PackLoss(model.get_base_model() if hasattr(model, "peft_config") else model, objective)
