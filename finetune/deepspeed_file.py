"""DeepSpeed's own configuration file (`--deepspeed FILE`), checked and merged into ours.

Settings that affect the weights belong to flags, which a recipe keeps. If a file has one of them,
it is refused with the flag's name. `"auto"`, as in transformers, leaves a value to us.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from agentlm.errors import OperatorError

_OURS = {
    "train_batch_size": "--batch-size",
    "train_micro_batch_size_per_gpu": "--pack-tokens",
    "gradient_accumulation_steps": "--batch-size and --pack-tokens",
    "gradient_clipping": "--clip",
    "scheduler": "--warmup and --lr",
    "steps_per_print": "metrics.jsonl",
}
"""Sections that are set by something else."""
_KNOWN = (
    "activation_checkpointing",
    "aio",
    "amp",
    "bf16",
    "comms_logger",
    "communication_data_type",
    "compile",
    "data_types",
    "dump_state",
    "flops_profiler",
    "fp16",
    "gradient_predivide_factor",
    "memory_breakdown",
    "optimizer",
    "prescale_gradients",
    "sparse_gradients",
    "wall_clock_breakdown",
    "zero_allow_untested_optimizer",
    "zero_force_ds_cpu_optimizer",
    "zero_optimization",
)


def read_deepspeed(path: Path, chosen: str = "adamw") -> dict[str, Any]:
    """The settings in a file. `chosen` is the value of --optimizer.

    Raises OperatorError if the file is unreadable or sets what it may not.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise OperatorError(f"--deepspeed {path} can't be read: {error}") from error
    if not isinstance(content, dict):
        raise OperatorError(f"--deepspeed {path}: a JSON object is needed")
    settings = _without_auto(content)
    for name, value in settings.items():
        _check(path, name, value)
    optimizer = settings.pop("optimizer", None)
    if optimizer is not None:
        _check_optimizer(path, optimizer, chosen)
    return settings


def merged(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Our settings, with theirs added to the sections."""
    both = ours | theirs
    for name in ours.keys() & theirs.keys():
        if isinstance(ours[name], dict) and isinstance(theirs[name], dict):
            both[name] = merged(ours[name], theirs[name])
    return both


def _without_auto(section: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_auto(value) if isinstance(value, dict) else value
        for name, value in section.items()
        if value != "auto"
    }


def _check(path: Path, name: str, value: Any) -> None:
    if name in _OURS:
        raise OperatorError(f"--deepspeed {path}: {name} is set by {_OURS[name]}")
    if name not in _KNOWN:
        nearest = difflib.get_close_matches(name, [*_KNOWN, *_OURS], n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; known: {', '.join(_KNOWN)}"
        raise OperatorError(f"--deepspeed {path}: unknown {name}{hint}")
    if name in ("fp16", "bf16", "amp") and isinstance(value, dict) and "enabled" in value:
        raise OperatorError(f"--deepspeed {path}: {name}.enabled is set by --precision")


def _check_optimizer(path: Path, optimizer: Any, chosen: str) -> None:
    options = optimizer if isinstance(optimizer, dict) else {}
    if chosen != "adamw":
        raise OperatorError(f"--deepspeed {path}: optimizer is set by --optimizer {chosen}")
    if str(options.get("type")).lower() not in ("adam", "adamw"):
        raise OperatorError(
            f"--deepspeed {path}: optimizer.type is AdamW, got {options.get('type')!r}"
        )
    if set_there := sorted(options.get("params") or {}):
        raise OperatorError(
            f"--deepspeed {path}: optimizer.params.{set_there[0]} is set by --lr and "
            '--weight-decay; write "auto" or leave it out'
        )
