"""Files are checked by their headers: no engine is needed to know that they would not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from agentlm.errors import RequestError
from agentlm.server.models.weights_fit import check_adapter_fit, check_weights_fit
from support.tiny import WIDTH, tiny_llama

Q = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def running(chatml_llama: Path) -> Path:
    return chatml_llama


def adapter(directory: Path, shapes: dict[str, tuple[int, ...]], **config: object) -> Path:
    directory.mkdir()
    settings = {"peft_type": "LORA", "r": 4} | config
    (directory / "adapter_config.json").write_text(json.dumps(settings))
    tensors = {f"base_model.model.{name}": np.zeros(shape) for name, shape in shapes.items()}
    save_file(tensors, directory / "adapter_model.safetensors")
    return directory


def test_weights_of_the_same_shape_fit(running: Path, tmp_path: Path) -> None:
    check_weights_fit(tiny_llama(tmp_path / "new", seed=1), running)


def test_weights_of_another_shape_do_not(running: Path, tmp_path: Path) -> None:
    tied = tiny_llama(tmp_path / "tied", tied=True)
    smaller = tiny_llama(tmp_path / "smaller", vocab=500)

    with pytest.raises(RequestError, match="tie_word_embeddings"):
        check_weights_fit(tied, running)
    with pytest.raises(RequestError, match=r"embed_tokens|lm_head"):
        check_weights_fit(smaller, running)


def test_a_cut_file_is_seen(running: Path, tmp_path: Path) -> None:
    cut = tiny_llama(tmp_path / "cut")
    file = cut / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(RequestError, match="not a whole safetensors file"):
        check_weights_fit(cut, running)


def test_missing_and_foreign_directories_are_told_apart(running: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no config\.json"):
        check_weights_fit(tmp_path, running)
    with pytest.raises(RequestError, match=r"no adapter_config\.json"):
        check_adapter_fit(tmp_path, running, max_rank=8)


def test_an_adapter_of_the_bases_layers_fits(running: Path, tmp_path: Path) -> None:
    shapes = {f"{Q}.lora_A.weight": (4, WIDTH), f"{Q}.lora_B.weight": (WIDTH, 4)}

    check_adapter_fit(adapter(tmp_path / "adapter", shapes), running, max_rank=8)


@pytest.mark.parametrize(
    ("tensor", "shape", "config", "words"),
    [
        (f"{Q}.lora_A.weight", (4, WIDTH), {"peft_type": "IA3"}, "IA3"),
        (f"{Q}.lora_A.weight", (16, WIDTH), {"r": 16}, "takes 1 to 8"),
        (f"{Q}.lora_A.weight", (8, WIDTH), {}, "fits no layer"),
        (f"{Q}.lora_B.weight", (WIDTH + 1, 4), {}, "fits no layer"),
        (f"{Q}9.lora_A.weight", (4, WIDTH), {}, "q_proj9, which"),
        (f"{Q}.weight", (4, WIDTH), {}, "not one that a LoRA"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    running: Path,
    tmp_path: Path,
    tensor: str,
    shape: tuple[int, ...],
    config: dict[str, object],
    words: str,
) -> None:
    with pytest.raises(RequestError, match=words):
        check_adapter_fit(adapter(tmp_path / "a", {tensor: shape}, **config), running, max_rank=8)
