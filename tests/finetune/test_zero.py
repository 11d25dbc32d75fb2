"""A step of the optimizer is taken only on a loss that is a number."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agentlm.errors import OperatorError
from agentlm.finetune.data.dataset import TokenRow
from agentlm.finetune.training.loss.sft import Imitation
from agentlm.finetune.training.packing import Pack, pack
from agentlm.finetune.training.processes import Processes
from agentlm.finetune.training.zero import optimize


class Engine:
    """DeepSpeed's as far as a step needs it, around a loss that is given."""

    def __init__(self, loss: float) -> None:
        self.module = SimpleNamespace(objective=Imitation())
        self.optimizer = SimpleNamespace(param_groups=[{}])
        self.stepped = False
        self._loss = torch.tensor(loss)

    def __call__(self, _: Pack) -> torch.Tensor:
        return self._loss

    def set_gradient_accumulation_boundary(self, _: bool) -> None: ...

    def backward(self, _: torch.Tensor) -> None: ...

    def step(self) -> None:
        self.stepped = True


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_before_it_reaches_the_weights(loss: float) -> None:
    row = TokenRow(np.array([5, 6, 7], np.int32), np.array([0, 1, 1], np.uint8))
    engine = Engine(loss)

    with pytest.raises(OperatorError, match=f"the loss became {loss}: try a lower --lr than 1.0e"):
        optimize(engine, list(pack([row], 8)), 10.0, Processes(0, 1))

    assert not engine.stepped
