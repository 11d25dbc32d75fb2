"""Merge an adapter into the weights that it changes: W + s · B · A for each matrix it names.

s is alpha / rank, or alpha / √rank for a rank-stabilised adapter (LoRA, arXiv 2106.09685, §4.1;
rsLoRA, arXiv 2312.03732). File and tensor names are PEFT's. In the engine, an adapter costs time in
every decoding step; merged weights are as fast as the base's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentlm.errors import OperatorError
from agentlm.models.model_files import ADAPTER_WEIGHTS, check_adapter, read_json, weight_files

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
_MORE_THAN_LORA = (
    "alpha_pattern",
    "fan_in_fan_out",
    "modules_to_save",
    "rank_pattern",
    "use_dora",
)


def merge_adapter(base: Path, adapter: Path, target: Path) -> None:
    """Write the model `base` with an adapter merged into it to the existing directory `target`.

    Weights keep their files and types. Raises OperatorError if the adapter is more than plain LoRA,
    or names a matrix that the base doesn't have in that shape.
    """
    changes = _changes(adapter)
    for file in weight_files(base):
        _merge_file(file, changes, target / file.name)
    if changes:
        raise OperatorError(f"{adapter} changes what {base} does not have: {min(changes)}")
    for file in base.iterdir():
        if file.is_file() and not (target / file.name).exists() and file.suffix != ".bin":
            shutil.copyfile(file, target / file.name)


def _merge_file(file: Path, changes: dict[str, Tensor], target: Path) -> None:
    from safetensors.torch import load_file, save_file

    if file.suffix != ".safetensors":
        raise OperatorError(
            f"{file} is not a safetensors file, so no adapter can be merged into it"
        )
    tensors = load_file(file)
    for name in sorted(changes.keys() & tensors.keys()):
        weight, change = tensors[name], changes.pop(name)
        if weight.shape != change.shape:
            raise OperatorError(
                f"the adapter changes {name} as {tuple(change.shape)}; the base has it as "
                f"{tuple(weight.shape)}"
            )
        tensors[name] = (weight.float() + change).to(weight.dtype)
    save_file(tensors, target, metadata={"format": "pt"})
    target.chmod(0o644)


def _changes(adapter: Path) -> dict[str, Tensor]:
    """What to add to each matrix, in single precision, by the matrix's name in the model."""
    from safetensors.torch import load_file

    check_adapter(adapter)
    scale = _scale(adapter, read_json(adapter / "adapter_config.json"))
    tensors = load_file(adapter / ADAPTER_WEIGHTS)
    changes = {
        name: scale * (tensors.pop(b).float() @ tensors.pop(a).float())
        for name, a, b in _pairs(list(tensors))
    }
    if tensors:
        raise OperatorError(f"{adapter} has {min(tensors)}, which is no matrix of plain LoRA")
    return changes


def _pairs(names: list[str]) -> Iterator[tuple[str, str, str]]:
    for a in names:
        b = a.removesuffix(_A) + _B
        if a.endswith(_A) and b in names:
            yield a.removeprefix(_PREFIX).removesuffix(_A) + ".weight", a, b


def _scale(adapter: Path, config: dict[str, Any]) -> float:
    if more := [name for name in _MORE_THAN_LORA if config.get(name)]:
        raise OperatorError(f"{adapter} is more than plain LoRA: it sets {', '.join(more)}")
    rank, alpha = config["r"], config["lora_alpha"]
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))
