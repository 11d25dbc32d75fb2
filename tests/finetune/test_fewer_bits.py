"""A base in 4 bits and an optimizer in 8: what they hold, where they are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bitsandbytes
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from agentlm.errors import OperatorError
from agentlm.finetune import settings as finetune_settings
from agentlm.finetune.data.dataset import TokenRow
from agentlm.finetune.settings import LATER, FinetuneSettings
from agentlm.finetune.training import bits
from agentlm.finetune.training.gated import keep_less
from agentlm.finetune.training.loss.pack_loss import PackLoss
from agentlm.finetune.training.loss.sft import Imitation
from agentlm.finetune.training.model import load, pack_loss
from agentlm.finetune.training.packing import pack
from agentlm.finetune.training.save import outputs

NF4 = {"quantize": "nf4"}
EIGHT = {"optimizer": "adamw8bit"}
[PACK] = pack([TokenRow(np.arange(5, 45, dtype=np.int32), np.ones(40, np.uint8))], 64)


def checked(**settings: Any) -> FinetuneSettings:
    found = FinetuneSettings(from_logs=True, **settings)
    found.check()
    return found


# -- where they are refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (NF4 | {"full": True}, "--quantize nf4 is for --lora, not for --full"),
        (NF4 | {"zero_stage": 3}, "--quantize nf4 with ZeRO-3 or --offload all: DeepSpeed can't"),
        (NF4 | {"offload": "all"}, "--quantize nf4 with ZeRO-3 or --offload all: DeepSpeed can't"),
        (NF4 | {"method": "grpo"}, "--quantize is for --method sft and dpo and kto, not for grpo"),
        (EIGHT | {"offload": "optimizer"}, "--optimizer adamw8bit with --offload: give one"),
        (EIGHT | {"offload": "all"}, "--optimizer adamw8bit with --offload: give one"),
    ],
)
def test_what_excludes_fewer_bits_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        checked(**settings)


@pytest.mark.parametrize(
    ("content", "settings", "words"),
    [
        ({"zero_optimization": {"stage": 3}}, NF4, "--quantize nf4 with ZeRO-3"),
        ({"zero_optimization": {"offload_param": {}}}, NF4, "--quantize nf4 with ZeRO-3"),
        ({"zero_optimization": {"offload_optimizer": {}}}, EIGHT, "adamw8bit with --offload"),
        ({"optimizer": {"type": "AdamW"}}, EIGHT, "optimizer is set by --optimizer adamw8bit"),
    ],
)
def test_a_deepspeed_file_excludes_them_likewise(
    tmp_path: Path, content: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    path = tmp_path / "ds.json"
    path.write_text(json.dumps(content))

    with pytest.raises(OperatorError, match=words):
        checked(deepspeed=path, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        NF4 | EIGHT | {"zero_stage": 2},
        NF4 | {"offload": "optimizer"},
        EIGHT | {"full": True, "zero_stage": 3},
    ],
)
def test_what_goes_together_is_let_through(settings: dict[str, Any]) -> None:
    found = checked(**settings)

    assert {name: found.recipe()[name] for name in settings} == settings


def test_a_recipe_has_them_only_where_they_are_asked_for() -> None:
    assert {"quantize", "optimizer"} <= LATER
    assert (
        not {"quantize", "optimizer"} & checked(quantize="none", optimizer="adamw").recipe().keys()
    )


@pytest.mark.parametrize(
    ("settings", "flag"), [(NF4, "--quantize nf4"), (EIGHT, "--optimizer adamw8bit")]
)
def test_without_the_library_its_installation_is_told(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], flag: str
) -> None:
    monkeypatch.setattr(finetune_settings, "find_spec", lambda _: None)

    with pytest.raises(
        OperatorError,
        match=rf"{flag} needs the package bitsandbytes: pip install .*\[bitsandbytes\]",
    ):
        checked(**settings)
    checked()


@pytest.mark.parametrize(
    ("settings", "module", "name", "flag"),
    [
        (NF4, bitsandbytes.nn, "LinearNF4", "--quantize nf4"),
        (EIGHT, bitsandbytes.optim, "AdamW8bit", "--optimizer adamw8bit"),
    ],
)
def test_hardware_without_kernels_for_it_is_told_before_any_row_is_read(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], module: Any, name: str, flag: str
) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise RuntimeError("no kernel image\nand a page about it")

    bits.check(checked(**settings), torch.float32)
    monkeypatch.setattr(module, name, none)
    with pytest.raises(
        OperatorError, match=rf"{flag}: bitsandbytes can't .* here \(cpu\): no kernel image$"
    ):
        bits.check(checked(**settings), torch.float32)
    bits.check(checked(), torch.float32)


# -- what they hold ------------------------------------------------------------------------------


def test_a_frozen_base_has_its_matrices_in_4_bits_and_the_rest_as_it_was(
    chatml_llama: Path,
) -> None:
    whole, small = (load(chatml_llama, None, torch.float32, kind) for kind in ("none", "nf4"))

    after = dict(small.named_parameters())
    for name, before in whole.named_parameters():
        if "proj" in name:
            assert after[name].dtype is torch.uint8
            assert after[name].numel() == before.numel() / 2
            assert after[name].quant_state.nested, "its scales are quantized too"
        else:
            torch.testing.assert_close(after[name], before, rtol=0, atol=0)


def test_the_moments_of_the_optimizer_are_bytes() -> None:
    weights = [torch.nn.Parameter(torch.zeros(64, width)) for width in (64, 2)]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer = bits.adamw8bit([{"params": weights, "weight_decay": 0.0}], 0.1, (0.9, 0.95))

    optimizer.step()

    states = [optimizer.state[weight] for weight in weights]
    assert [state["state2"].dtype for state in states] == [torch.uint8, torch.float32]
    for weight in weights:
        torch.testing.assert_close(
            weight.detach(), torch.full_like(weight, -0.1), rtol=0.02, atol=0
        )


def adapted(base: Path) -> PackLoss:
    """The base in 4 bits with an adapter on two of its matrices, which is no longer zero."""
    torch.manual_seed(0)
    model = load(base, None, torch.float32, "nf4")
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    return pack_loss(get_peft_model(model, config).train(), Imitation())


def gradients(loss: PackLoss) -> dict[str, torch.Tensor]:
    trained = {name: p for name, p in loss.named_parameters() if p.requires_grad}
    values = torch.autograd.grad(loss(PACK), list(trained.values()))
    return dict(zip(trained, values, strict=True))


def test_measuring_between_steps_changes_no_gradient(
    chatml_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU with bfloat16 the library packs what is evaluated, and cuts the gradient off."""
    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: True)
    loss = adapted(chatml_llama)
    before = gradients(loss)

    first, second = outputs(loss, PACK), outputs(loss, PACK)

    torch.testing.assert_close(second, first, rtol=0, atol=0)
    for name, gradient in gradients(loss).items():
        assert gradient.any(), name
        torch.testing.assert_close(gradient, before[name], rtol=0, atol=0)


def test_products_that_are_computed_again_change_no_gradient_of_4_bits(chatml_llama: Path) -> None:
    loss = adapted(chatml_llama)
    before = gradients(loss)

    keep_less(loss.model)

    assert "forward" in vars(loss.model.model.layers[0].mlp), "it keeps less"
    for name, gradient in gradients(loss).items():
        torch.testing.assert_close(gradient, before[name], rtol=0, atol=0)
