"""Check from their headers whether new files fit the running weights, before an engine reads them.

A serving engine dies if it meets a file that it can't use, so it gets no file unchecked.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

from agentlm.errors import OperatorError, RequestError
from agentlm.models.model_files import (
    ADAPTER_WEIGHTS,
    check_adapter,
    check_model,
    read_json,
    weight_files,
)

Shapes = Mapping[str, tuple[int, ...]]

SAME_CONFIG = (
    "architectures",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "rms_norm_eps",
    "rope_theta",
    "rope_parameters",
    "tie_word_embeddings",
)
"""Properties of a model that shapes don't show and a running engine can't change."""


def check_weights_fit(new: Path, running: Path) -> None:
    """Raises RequestError if the model in `new` can't replace the one in `running`."""
    try:
        check_model(new)
        ours, theirs = read_json(new / "config.json"), read_json(running / "config.json")
        shapes, expected = tensor_shapes(weight_files(new)), tensor_shapes(weight_files(running))
    except OperatorError as error:
        raise RequestError(str(error)) from error
    for key in SAME_CONFIG:
        if key in ours and key in theirs and ours[key] != theirs[key]:
            raise RequestError(
                f"{new} has {key} {ours[key]!r}; the running model has {theirs[key]!r}"
            )
    if expected:
        _check_same(new, shapes, expected)


def check_adapter_fit(adapter: Path, running: Path, *, max_rank: int) -> None:
    """Raises RequestError if the adapter can't be applied to the model in `running`."""
    try:
        check_adapter(adapter)
        config = read_json(adapter / "adapter_config.json")
        shapes = tensor_shapes([adapter / ADAPTER_WEIGHTS])
        base = tensor_shapes(weight_files(running))
    except OperatorError as error:
        raise RequestError(str(error)) from error
    if config.get("peft_type") != "LORA":
        raise RequestError(f"{adapter} is a {config.get('peft_type')} adapter; known: LORA")
    rank = config.get("r")
    if not isinstance(rank, int) or not 0 < rank <= max_rank:
        raise RequestError(f"{adapter} has rank {rank}; this server takes 1 to {max_rank}")
    if not shapes:
        raise RequestError(f"{adapter / ADAPTER_WEIGHTS} holds no tensors")
    for name, shape in shapes.items():
        _check_adapter_tensor(name, shape, rank, base)


def tensor_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Shapes by tensor name; empty for files that are not safetensors.

    Raises OperatorError for a damaged file.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        if path.suffix == ".safetensors":
            shapes |= _header(path)
    return shapes


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8)) if size >= 8 else (size,)
        if length > size - 8:
            raise OperatorError(f"{path} is not a whole safetensors file")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise OperatorError(f"{path} is not a safetensors file: {error}") from error
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    if 8 + length + end != size:
        raise OperatorError(f"{path} is not a whole safetensors file")
    return {name: tuple(entry["shape"]) for name, entry in tensors.items()}


def _check_same(new: Path, shapes: Shapes, expected: Shapes) -> None:
    if missing := expected.keys() - shapes.keys():
        raise RequestError(f"{new} lacks {_some(missing)}")
    if extra := shapes.keys() - expected.keys():
        raise RequestError(f"{new} has {_some(extra)}, which the running model lacks")
    for name, shape in shapes.items():
        if shape != expected[name]:
            raise RequestError(
                f"{new} has {name} of {shape}; the running model has {expected[name]}"
            )


def _check_adapter_tensor(name: str, shape: tuple[int, ...], rank: int, base: Shapes) -> None:
    module, _, kind = name.removeprefix("base_model.model.").rpartition(".lora_")
    if kind not in ("A.weight", "B.weight"):
        raise RequestError(f"the adapter's tensor {name} is not one that a LoRA of layers has")
    weight = base.get(f"{module}.weight")
    if base and weight is None:
        raise RequestError(f"the adapter changes {module}, which the running model lacks")
    fits = shape[:1] == (rank,) if kind == "A.weight" else shape[1:] == (rank,)
    if weight is not None and len(shape) == 2:
        fits = shape == ((rank, weight[1]) if kind == "A.weight" else (weight[0], rank))
    if not fits:
        raise RequestError(
            f"the adapter's tensor {name} of {shape} fits no layer of {weight} at rank {rank}"
        )


def _some(names: Iterable[str]) -> str:
    return ", ".join(islice(sorted(names), 3))
