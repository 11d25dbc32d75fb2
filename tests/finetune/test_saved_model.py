"""A model is registered only if what lies on the disk is what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agentlm.errors import OperatorError
from agentlm.finetune.data.dataset import TokenRow
from agentlm.finetune.training.loss.sft import Imitation
from agentlm.finetune.training.model import load, pack_loss
from agentlm.finetune.training.packing import pack
from agentlm.finetune.training.save import check_same, difference_of, outputs

ROW = TokenRow(np.arange(40, dtype=np.int32), np.ones(40, np.uint8))
PACK = next(pack([ROW], 64))
PRECISIONS = [torch.float32, torch.bfloat16]


def logits(model: Any) -> torch.Tensor:
    return outputs(pack_loss(model, Imitation()), PACK)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_a_model_is_itself_though_another_device_rounds_its_logits(
    chatml_llama: Path, dtype: torch.dtype
) -> None:
    trained = logits(load(chatml_llama, None, dtype))
    step = torch.finfo(dtype).eps * trained.abs().max()
    noise = torch.randn(trained.shape, generator=torch.Generator().manual_seed(0))

    difference = difference_of(chatml_llama, chatml_llama, PACK, trained + step * noise, dtype)

    assert difference > 0
    check_same(difference, chatml_llama, dtype)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_another_model_than_the_trained_one_is_refused(
    chatml_llama: Path, dtype: torch.dtype
) -> None:
    trained = load(chatml_llama, None, dtype)
    with torch.no_grad():
        for weight in trained.parameters():
            weight.mul_(1.2)

    difference = difference_of(chatml_llama, chatml_llama, PACK, logits(trained), dtype)

    with pytest.raises(OperatorError, match=r"nats a token\. It is not registered"):
        check_same(difference, chatml_llama, dtype)
