"""DeepSpeed: its configuration, its engine, and one step over any number of packs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import ValidationError

from agentlm.errors import OperatorError
from agentlm.finetune.deepspeed_file import merged
from agentlm.finetune.settings import Training
from agentlm.finetune.training import bits
from agentlm.finetune.training.loss.pack_loss import PackLoss
from agentlm.finetune.training.model import training_dtype
from agentlm.finetune.training.packing import Pack
from agentlm.finetune.training.processes import Processes

BETAS = (0.9, 0.95)


def config(training: Training, processes: Processes) -> dict[str, Any]:
    stage = training.chosen_stage
    if stage is None:
        stage = 0 if processes.count == 1 else 2
    zero: dict[str, Any] = {"stage": stage}
    if training.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu"}
    if training.offload == "all":
        zero["offload_param"] = {"device": "cpu"}
    half = training_dtype(training.precision) is torch.bfloat16
    theirs = training.deepspeed_config
    offloaded = training.offload != "none" or "offload_optimizer" in theirs.get(
        "zero_optimization", {}
    )
    ours: dict[str, Any] = {
        # One pack at a time. The number of packs differs between steps, so steps are called
        # explicitly and the loss is weighted.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": training.clip,
        "bf16": {"enabled": half},
        "zero_optimization": zero,
        # torch's fused AdamW needs no compiler; DeepSpeed's own is compiled on first use.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**62,
    }
    if half and stage:  # without stages it can't: `_GradientSums` does
        ours["data_types"] = {"grad_accum_dtype": "fp32"}
    if training.optimizer == "adamw":
        ours["optimizer"] = {
            "type": "AdamW",
            "params": {
                "lr": training.peak_lr,
                "betas": BETAS,
                "torch_adam": True,
                "fused": not offloaded,
            },
        }
    else:
        ours["zero_allow_untested_optimizer"] = True  # any that DeepSpeed does not bring
    return merged(ours, theirs)


def open_engine(model: PackLoss, training: Training, processes: Processes) -> Any:
    """DeepSpeed's engine around the model."""
    import deepspeed

    groups = _parameter_groups(model, training.weight_decay)
    own = None
    if training.optimizer == "adamw8bit":
        own = bits.adamw8bit(groups, training.peak_lr, BETAS)
    try:
        engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=own,
            model_parameters=groups,
            config=config(training, processes),
            dist_init_required=False,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise OperatorError(f"--deepspeed {training.deepspeed}: {place}: {first['msg']}") from error
    return engine


def _parameter_groups(model: PackLoss, decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norms and biases do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if _dimensions(p) > 1], "weight_decay": decay},
        {"params": [p for p in trained if _dimensions(p) <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _dimensions(parameter: torch.nn.Parameter) -> int:
    # Under ZeRO-3 a partitioned parameter's own shape is empty.
    return len(getattr(parameter, "ds_shape", parameter.shape))


def optimize(
    engine: Any, packs: Sequence[Pack], lr: float, processes: Processes
) -> tuple[float, float]:
    """One optimizer step over packs of all processes.

    Returns the step's loss, and the norm of the gradient before it was clipped.

    Raises OperatorError if loss or norm is no longer finite: before the step, except where only
    DeepSpeed knows the norm. There it is after the step, but before any checkpoint.
    """
    for group in engine.optimizer.param_groups:
        group["lr"] = lr
    weight = engine.module.objective.weight(packs)
    # Packs of one kind at a time: the processes of ZeRO-3 must all compute the same modules.
    mine = [
        pack
        for distilled in (False, True)
        for pack in share_out([p for p in packs if p.distilled is distilled], processes)
    ]
    losses = []
    sums = _GradientSums(engine, processes)
    for index, pack in enumerate(mine):
        engine.set_gradient_accumulation_boundary(index == len(mine) - 1)
        loss = engine(pack)
        # DeepSpeed averages gradients over processes, but we need the sum.
        engine.backward(loss * (processes.count / weight))
        losses.append(loss.detach())
        sums.take()
    sums.give()
    # Read only here: after each pack the host would have to wait for the device.
    total = float(sum(one.double() for one in losses))
    mean = processes.sum(total) / weight
    _check_finite("loss", mean, lr)
    norm = _gradient_norm(engine)
    if norm is not None:
        _check_finite("norm of the gradient", norm, lr)
    engine.step()
    reported = engine.get_global_grad_norm()
    if reported is not None:
        norm = float(reported)
        _check_finite("norm of the gradient", norm, lr)
    return mean, math.nan if norm is None else norm


class _GradientSums:
    """Adds up the packs' gradients in float32 where they are of 16 bits and nothing is partitioned.

    DeepSpeed would add them in their own 8 bits of precision, in which the 257th of equal numbers
    changes nothing. Of several processes it reduces the gradients itself, so they are left to it.
    """

    def __init__(self, engine: Any, processes: Processes) -> None:
        mine = processes.count == 1 and not engine.zero_optimization()
        self._parameters = [
            parameter
            for parameter in engine.module.parameters()
            if mine and parameter.requires_grad and parameter.dtype is not torch.float32
        ]
        self._sums: dict[torch.nn.Parameter, torch.Tensor] = {}

    def take(self) -> None:
        """Take the gradients of a pack away from the parameters."""
        for parameter in self._parameters:
            if parameter.grad is None:
                continue
            if parameter in self._sums:
                self._sums[parameter] += parameter.grad
            else:
                self._sums[parameter] = parameter.grad.float()
            parameter.grad = None

    def give(self) -> None:
        """Leave the sums as the gradients."""
        for parameter, total in self._sums.items():
            parameter.grad = total.to(parameter.dtype)


def _check_finite(what: str, value: float, lr: float) -> None:
    if not math.isfinite(value):
        raise OperatorError(f"the {what} became {value}: try a lower --lr than {lr:.1e}")


def _gradient_norm(engine: Any) -> float | None:
    """The norm where nothing is partitioned: DeepSpeed reports none there, and each process has the
    whole gradient."""
    if engine.zero_optimization():
        return None
    gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def share_out(packs: Sequence[Pack], processes: Processes) -> list[Pack]:
    """This process's packs: the same number for each process, and about as many tokens.

    From the longest on they are dealt back and forth (0 … n - 1, n - 1 … 0): always in one
    direction, the first process would have the longest of each round.
    """
    ordered = sorted(packs, key=lambda pack: -len(pack.ids))
    missing = -len(ordered) % processes.count
    ordered += [pack.weightless() for pack in ordered[-1:] for _ in range(missing)]
    rounds = range(0, len(ordered), processes.count)
    back = processes.count - 1 - processes.rank
    return [
        ordered[first + (back if number % 2 else processes.rank)]
        for number, first in enumerate(rounds)
    ]


def learning_rate(step: int, steps: int, training: Training) -> float:
    """Linear warm-up, then a cosine down to zero. `step` counts from 0."""
    warmup = max(1, round(training.warmup * steps))
    if step < warmup:
        return training.peak_lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return training.peak_lr * 0.5 * (1 + math.cos(math.pi * progress))
