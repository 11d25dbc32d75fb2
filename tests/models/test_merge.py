"""An adapter merged into weights is the model that the adapter made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentlm.errors import OperatorError
from agentlm.models.cards import ModelCard
from agentlm.models.merge import merge_adapter
from agentlm.models.model_files import ADAPTER_WEIGHTS
from agentlm.models.registry import Registry

TARGETS = ["q_proj", "v_proj", "down_proj"]


def adapter(base: Path, directory: Path, **options: Any) -> Path:
    """A random LoRA adapter of PEFT's making."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(target_modules=TARGETS, **{"r": 4, "lora_alpha": 12} | options)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(directory)
    return directory


def target(tmp_path: Path) -> Path:
    directory = tmp_path / "merged"
    directory.mkdir()
    return directory


@pytest.mark.parametrize("stabilised", [False, True])
def test_merged_weights_are_those_that_peft_merges(
    tmp_path: Path, chatml_llama: Path, stabilised: bool
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    lora = adapter(chatml_llama, tmp_path / "adapter", use_rslora=stabilised)
    merged = target(tmp_path)

    merge_adapter(chatml_llama, lora, merged)

    base = AutoModelForCausalLM.from_pretrained(chatml_llama)
    expected = PeftModel.from_pretrained(base, lora).merge_and_unload().state_dict()
    found = AutoModelForCausalLM.from_pretrained(merged).state_dict()
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight)
    assert (merged / "tokenizer.json").read_bytes() == (
        chatml_llama / "tokenizer.json"
    ).read_bytes()


def test_a_card_with_a_shipped_adapter_is_merged_once(
    tmp_path: Path, chatml_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lora = adapter(chatml_llama, tmp_path / "adapter")
    monkeypatch.setattr("agentlm.models.registry.shipped_adapter", lambda _name: lora)
    registry = Registry(tmp_path)
    registry.add(ModelCard(name="parent", source="local", location=str(chatml_llama)))
    card = ModelCard(name="it", source="package", location="", parent="parent", merged="adapter")

    first, second = registry.resolve(card), registry.resolve(card)

    assert first == second
    assert first.directory.parent == tmp_path / "cache" / "agentlm" / "models"
    parent = registry.resolve(registry.get("parent"))
    assert first.card.weights_version != parent.card.weights_version
    assert first.card.tokenizer_digest == parent.card.tokenizer_digest


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"use_dora": True}, "is more than plain LoRA: it sets use_dora"),
        ({"rank_pattern": {"q_proj": 8}}, "is more than plain LoRA: it sets rank_pattern"),
    ],
)
def test_what_is_more_than_lora_is_refused(
    tmp_path: Path, chatml_llama: Path, option: dict[str, Any], message: str
) -> None:
    lora = adapter(chatml_llama, tmp_path / "adapter")
    config = lora / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | option))

    with pytest.raises(OperatorError, match=message):
        merge_adapter(chatml_llama, lora, target(tmp_path))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("model.layers.0.self_attn.q_proj", (4, 8), r"changes .* as \(64, 8\); the base has"),
        ("model.layers.7.self_attn.q_proj", (4, 64), "changes what .* does not have"),
    ],
)
def test_an_adapter_of_another_model_is_refused(
    tmp_path: Path, chatml_llama: Path, name: str, shape: tuple[int, int], message: str
) -> None:
    import torch
    from safetensors.torch import save_file

    lora = adapter(chatml_llama, tmp_path / "adapter")
    tensors = {
        f"base_model.model.{name}.lora_A.weight": torch.zeros(shape),
        f"base_model.model.{name}.lora_B.weight": torch.zeros(64, 4),
    }
    save_file(tensors, lora / ADAPTER_WEIGHTS)

    with pytest.raises(OperatorError, match=message):
        merge_adapter(chatml_llama, lora, target(tmp_path))
