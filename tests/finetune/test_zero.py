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
from agentlm.finetune.training.zero import optimize, share_out


class Engine:
    """DeepSpeed's as far as a step needs it, around a loss that is given."""

    def __init__(self, loss: float, gradient: float = 0.0) -> None:
        weight = torch.nn.Parameter(torch.zeros(1))
        weight.grad = torch.tensor([gradient])
        self.module = SimpleNamespace(objective=Imitation(), parameters=lambda: [weight])
        self.optimizer = SimpleNamespace(param_groups=[{}])
        self.stepped = False
        self._loss = torch.tensor(loss)

    def __call__(self, _: Pack) -> torch.Tensor:
        return self._loss

    def set_gradient_accumulation_boundary(self, _: bool) -> None: ...

    def backward(self, _: torch.Tensor) -> None: ...

    def zero_optimization(self) -> bool:
        return False

    def step(self) -> None:
        self.stepped = True

    def get_global_grad_norm(self) -> None: ...


PACKS = list(pack([TokenRow(np.array([5, 6, 7], np.int32), np.array([0, 1, 1], np.uint8))], 8))


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_before_it_reaches_the_weights(loss: float) -> None:
    engine = Engine(loss)

    with pytest.raises(OperatorError, match=f"the loss became {loss}: try a lower --lr than 1.0e"):
        optimize(engine, PACKS, 10.0, Processes(0, 1))

    assert not engine.stepped


@pytest.mark.parametrize("gradient", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_does_not_reach_the_weights_either(gradient: float) -> None:
    engine = Engine(1.0, gradient)

    with pytest.raises(OperatorError, match=f"the norm of the gradient became {gradient}: try a"):
        optimize(engine, PACKS, 10.0, Processes(0, 1))

    assert not engine.stepped


def test_a_step_returns_its_loss_and_the_norm_of_its_gradient() -> None:
    engine = Engine(2.0, 3.0)

    assert optimize(engine, PACKS, 10.0, Processes(0, 1)) == (1.0, 3.0)
    assert engine.stepped


class Counting(Engine):
    """Its only weight is of 16 bits, and each backward pass adds 1 to its gradient."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
        self.module.parameters = lambda: [self.weight]

    def backward(self, _: torch.Tensor) -> None:
        (self.weight * 1.0).sum().backward()  # type: ignore[no-untyped-call]


def test_gradients_of_16_bits_are_added_in_32() -> None:
    engine = Counting()

    optimize(engine, PACKS * 300, 10.0, Processes(0, 1))

    assert float(engine.weight.grad or 0) == 300, "in 16 bits, 256 and 1 are 256"


def test_packs_are_dealt_back_and_forth_so_that_no_process_has_the_longest_of_each_round() -> None:
    lengths = [90, 10, 70, 50, 30]
    packs = [
        next(pack([TokenRow(np.arange(5, 5 + n, dtype=np.int32), np.ones(n, np.uint8))], n))
        for n in lengths
    ]

    shares = [share_out(packs, Processes(rank, 2)) for rank in range(2)]

    assert [[len(one.ids) for one in share] for share in shares] == [[90, 30, 10], [70, 50, 10]]
    counted = [len(one.ids) for share in shares for one in share if one.weights.any()]
    assert sorted(counted) == sorted(lengths), "the one that fills the last round counts nothing"


def test_nothing_to_share_out_is_nothing_for_each() -> None:
    assert share_out([], Processes(0, 2)) == []
