"""Save the trained model, and verify that what was saved is what was trained.

A model is written under a temporary name, and renamed when it is complete. It is then read back as
a server would read it, and its outputs are compared with those of the model in memory. So an empty
or partial file, which ZeRO-3 makes easily, is noticed here and not by users.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import kl_div

from agentlm.errors import OperatorError
from agentlm.files import sync
from agentlm.finetune.settings import Quantization
from agentlm.finetune.training.loss.pack_loss import PackLoss
from agentlm.finetune.training.loss.sft import Imitation
from agentlm.finetune.training.model import load, pack_loss
from agentlm.finetune.training.packing import Pack
from agentlm.finetune.training.processes import Processes

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "tokenizer.model",
    "generation_config.json",
)
PROBE_TOKENS = 64
_SAME = {torch.float32: 1e-6, torch.bfloat16: 2e-3}
"""Nats between a model and itself at another rounding, at most. In bfloat16 1e-4 to 2e-4 were
measured, beside logits that were off by up to 1.3; a base and its trained successor differed by
2.1."""


def save_model(engine: Any, model: Any, base: Path, target: Path, processes: Processes) -> None:
    """Write the adapter, or all weights with the base's tokenizer and config, to `target`."""
    weights = _gather(engine.module, processes, trained_only=hasattr(model, "peft_config"))
    if processes.first:
        _write(model, weights, base, target)


def _write(model: Any, weights: dict[str, torch.Tensor], base: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if hasattr(model, "peft_config"):
        model.save_pretrained(partial, state_dict=_peft_names(model, weights))
        (partial / "README.md").unlink(missing_ok=True)  # PEFT's, a form with blanks
    else:
        model.save_pretrained(partial, state_dict=weights)
        for name in TOKENIZER_FILES:
            if (base / name).exists():
                shutil.copyfile(base / name, partial / name)
    for file in partial.iterdir():
        file.chmod(0o644)
        sync(file)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    sync(target.parent)


def _gather(
    module: PackLoss, processes: Processes, *, trained_only: bool
) -> dict[str, torch.Tensor]:
    """In the first process, every whole parameter on the CPU, by its name in the model."""
    import deepspeed

    weights = {}
    for name, parameter in module.model.named_parameters():
        if parameter.requires_grad or not trained_only:
            # Whole parameters pass through unchanged; ZeRO-3's parts are joined.
            with deepspeed.zero.GatheredParameters([parameter]):
                if processes.first:
                    weights[name] = parameter.detach().to("cpu", copy=True)
    return weights


def _peft_names(model: Any, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Undo the prefix that PEFT's wrapper adds to each name."""
    return {f"base_model.model.{name}": weight for name, weight in weights.items()}


@torch.no_grad()
def outputs(module: PackLoss, pack: Pack) -> torch.Tensor:
    """Logits of the first trained tokens of a pack, without dropout."""
    training = module.training
    module.eval()
    hidden = module.hidden(pack)[:PROBE_TOKENS]
    logits: torch.Tensor = module.model.get_output_embeddings()(hidden)
    module.train(training)
    return logits.float().cpu()


def check_same(difference: float, target: Path, dtype: torch.dtype) -> None:
    """Raise OperatorError if the model in `target` is another one than that which was trained. The
    two may have been computed on different devices."""
    if not difference <= _SAME[dtype]:
        raise OperatorError(
            f"the model saved in {target} differs from the one that was trained, by "
            f"{difference:.3g} nats a token. It is not registered"
        )


def difference_of(
    target: Path,
    base: Path,
    pack: Pack,
    expected: torch.Tensor,
    dtype: torch.dtype,
    quantize: Quantization = "none",
) -> float:
    """Load the saved model, and its base quantized or not. Returns the KL divergence of its
    distributions of tokens from those of `expected` (logits of the trained model), in nats, on
    average."""
    adapter = (target / "adapter_config.json").exists()
    model = load(base if adapter else target, target if adapter else None, dtype, quantize)
    saved = outputs(pack_loss(model.eval(), Imitation()), pack)
    logs = (saved.log_softmax(-1), expected.log_softmax(-1))
    return float(kl_div(*logs, reduction="batchmean", log_target=True))
