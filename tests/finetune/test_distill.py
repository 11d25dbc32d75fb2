"""Distillation compares the model with its base, at every token that is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from agentlm.finetune.data.dataset import TokenRow
from agentlm.finetune.training.attention import PACK_ATTENTION, register
from agentlm.finetune.training.loss.pack_loss import PackLoss
from agentlm.finetune.training.loss.sft import Imitation
from agentlm.finetune.training.model import pack_loss
from agentlm.finetune.training.packing import pack


def adapted(directory: Path, *, moved: float, targets: str | list[str] = "all-linear") -> PackLoss:
    """A model with an adapter, which changes it if `moved` is not zero."""
    register()
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(directory, attn_implementation=PACK_ATTENTION)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=targets))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, moved)
    return pack_loss(model, Imitation())


def rows() -> list[TokenRow]:
    """Three rows with a common beginning, learned from its end on."""
    random = np.random.default_rng(0)
    common = random.integers(5, 200, 30)
    return [
        TokenRow(
            np.append(common, random.integers(5, 200, n)).astype(np.int32),
            np.array([0] * 20 + [1] * (10 + n), np.uint8),
            distilled=True,
        )
        for n in (12, 20, 9)
    ]


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    model.set_attn_implementation("sdpa")
    found: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0, :-1]
    model.set_attn_implementation(PACK_ATTENTION)
    return found.float()


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "lm_head"]])
def test_the_loss_is_the_divergence_from_the_base_row_by_row(
    chatml_llama: Path, targets: str | list[str]
) -> None:
    loss = adapted(chatml_llama, moved=0.1, targets=targets)
    base = AutoModelForCausalLM.from_pretrained(chatml_llama)
    expected = torch.zeros(())
    for row in rows():
        ids = row.ids.tolist()
        new, old = (torch.log_softmax(logits(it, ids), -1) for it in (loss.model, base))
        apart = (old.exp() * (old - new)).sum(-1)
        expected = expected + apart[torch.from_numpy(row.loss[1:] > 0)].sum()
    expected.backward()
    gradients = {n: p.grad for n, p in loss.named_parameters() if p.grad is not None}
    loss.zero_grad()

    found = torch.zeros(())
    for each in pack(rows(), 64):
        found = found + loss(each)
    found.backward()

    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert found.item() > 0.1
    own = {n: p.grad for n, p in loss.named_parameters() if p.grad is not None}
    assert own.keys() == gradients.keys()
    assert all("lora_" in name for name in own)
    for name, gradient in own.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-3, atol=1e-5)
    tokens = sum(int(row.loss.sum()) for row in rows())
    metrics = loss.objective.metrics(loss.objective.take_sums())
    assert metrics == {"divergence": pytest.approx(expected.item() / tokens, rel=1e-4)}


def test_a_model_that_is_its_base_has_nothing_to_lose(chatml_llama: Path) -> None:
    loss = adapted(chatml_llama, moved=0.0)
    [only] = pack(rows(), 4096)
    assert loss(only).item() == pytest.approx(0, abs=1e-4)


def test_a_model_without_an_adapter_has_no_base_beside_it(chatml_llama: Path) -> None:
    register()
    model = AutoModelForCausalLM.from_pretrained(chatml_llama, attn_implementation=PACK_ATTENTION)
    [only] = pack(rows(), 4096)
    with pytest.raises(ValueError, match="no adapter"):
        PackLoss(model, Imitation())(only)
