"""Every method's loss and gradients are those of a plain transformers model, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM

from agentlm.finetune.data.dataset import TokenRow
from agentlm.finetune.training.attention import PACK_ATTENTION, register
from agentlm.finetune.training.loss.dpo import Pairs
from agentlm.finetune.training.loss.grpo import GroupedRewards
from agentlm.finetune.training.loss.kto import Thumbs
from agentlm.finetune.training.loss.objective import Objective
from agentlm.finetune.training.loss.pack_loss import PackLoss
from agentlm.finetune.training.packing import pack

BETA, CAP = 5.0, 1.5


@pytest.fixture(scope="module")
def model(chatml_llama: Path) -> Any:
    register()
    return AutoModelForCausalLM.from_pretrained(
        chatml_llama, attn_implementation=PACK_ATTENTION
    ).eval()


def tries(model: Any) -> list[TokenRow]:
    """Six tries with one prompt: two of them forked after a sampled turn, which they share.

    Recorded is what the model itself says, but for noise: some ratios are above the cap.
    """
    random = np.random.default_rng(0)

    def ids(n: int) -> list[int]:
        return random.integers(5, 200, n).tolist()

    prompt, turn, seen = ids(40), ids(18), ids(20)
    sequences = [prompt + turn + seen + ids(n) for n in (12, 9)]
    sequences += [prompt + ids(n) for n in (17, 30, 21, 5)]
    credits = [0.5, -0.75, 0.25, -0.25, 1.0, -0.75]
    rows = []
    for number, (sequence, credit) in enumerate(zip(sequences, credits, strict=True)):
        loss = np.array([at >= 40 for at in range(len(sequence))], np.uint8)
        if number < 2:
            loss[58:78] = 0
        noise = np.random.default_rng(7).normal(0, 0.4, len(sequence))  # a copy has its record too
        recorded = np.append(np.nan, plain(model, sequence).detach().numpy()) + noise
        share = np.where((np.arange(len(sequence)) < 58) & (number < 2), 0.5, 1.0) * credit
        rows.append(
            TokenRow(
                np.array(sequence, np.int32),
                loss,
                share.astype(np.float32),
                recorded.astype(np.float32),
                number,
            )
        )
    return rows


def plain(model: Any, ids: Sequence[int]) -> Tensor:
    """Log-probabilities of all ids but the first, by transformers itself."""
    model.set_attn_implementation("sdpa")
    logits = model(input_ids=torch.tensor(ids, dtype=torch.long)[None]).logits[0]
    model.set_attn_implementation(PACK_ATTENTION)
    found = torch.log_softmax(logits[:-1].float(), -1)
    return found.gather(1, torch.tensor(ids[1:], dtype=torch.long)[:, None])[:, 0]


def own(model: Any, row: TokenRow) -> tuple[Tensor, Tensor, Tensor]:
    """Of a row's trained ids: log-probabilities now and then, and credit."""
    assert row.credit is not None
    assert row.recorded is not None
    trained = torch.from_numpy(row.loss[1:] > 0)
    now = plain(model, row.ids.tolist())[trained]
    recorded = torch.from_numpy(row.recorded[1:])[trained]
    return now, recorded, torch.from_numpy(row.credit[1:])[trained]


def grpo(model: Any, rows: Sequence[TokenRow]) -> Tensor:
    total = torch.zeros(())
    for row in rows:
        now, recorded, credit = own(model, row)
        ratio = torch.exp(now - recorded).clamp(max=CAP).detach()
        total = total - (ratio * credit * now).sum()
    return total


def apart(model: Any, row: TokenRow) -> Tensor:
    now, recorded, _ = own(model, row)
    return (now - recorded).mean()


def dpo(model: Any, rows: Sequence[TokenRow]) -> Tensor:
    total = torch.zeros(())
    for better, worse in zip(rows[::2], rows[1::2], strict=True):
        total = total - logsigmoid(BETA * (apart(model, better) - apart(model, worse)))
    return total


def kto(model: Any, rows: Sequence[TokenRow]) -> Tensor:
    total = torch.zeros(())
    for row in rows:
        weight = own(model, row)[2][0]
        missed = 1 - torch.sigmoid(BETA * torch.sign(weight) * apart(model, row))
        total = total + weight.abs() * missed
    return total


def whole(row: TokenRow, **changes: Any) -> TokenRow:
    """The row with one credit for all of it."""
    assert row.credit is not None
    sign = 1.0 if row.number % 2 == 0 else -1.0
    return row._replace(credit=np.full_like(row.credit, 1.3 * sign), **changes)


def judged_pairs(rows: Sequence[TokenRow]) -> list[TokenRow]:
    return [whole(row, pair=row.number // 2) for row in rows]


def judged_alone(rows: Sequence[TokenRow]) -> list[TokenRow]:
    return [whole(row) for row in rows]


METHODS = {
    "grpo": (grpo, GroupedRewards(CAP, 1.0), list),
    "dpo": (dpo, Pairs(BETA), judged_pairs),
    "kto": (kto, Thumbs(BETA), judged_alone),
}


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("max_tokens", [130, 10_000])
@pytest.mark.parametrize("method", METHODS)
def test_loss_and_gradients_in_packs_are_those_of_a_plain_model(
    model: Any, method: str, max_tokens: int, share: bool
) -> None:
    by_hand: Callable[[Any, Sequence[TokenRow]], Tensor]
    objective: Objective
    by_hand, objective, judged = METHODS[method]
    rows = judged(tries(model))
    expected = by_hand(model, rows)
    model.zero_grad()
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}

    model.zero_grad()
    loss = PackLoss(model, objective)
    packs = list(pack(rows, max_tokens, share=share))
    packed = torch.stack([loss(laid) for laid in packs]).sum()
    packed.backward()

    assert (len(packs) > 1) == (max_tokens == 130)
    torch.testing.assert_close(packed, expected, rtol=1e-5, atol=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5)


def test_a_shared_turn_is_computed_once_and_learned_with_the_mean_of_its_tries(model: Any) -> None:
    first, second = tries(model)[:2]
    [laid] = pack([first, second], 10_000)

    assert len(laid.ids) == len(first.ids) + len(second.ids) - 78
    of_turn = [
        laid.row_tokens.credit[laid.row_tokens.token == at].sum()
        for at in np.flatnonzero(laid.positions[laid.sources] < 57)
    ]
    assert of_turn == pytest.approx([(0.5 - 0.75) / 2] * 18)


def test_the_effective_sample_size_is_whole_where_the_model_said_it_and_falls_from_there(
    model: Any,
) -> None:
    noisy = tries(model)
    exact = [
        row._replace(recorded=np.append(0, plain(model, row.ids.tolist()).detach().numpy()))
        for row in noisy
    ]
    found = []
    for rows in (exact, noisy):
        objective = GroupedRewards(CAP, 1.0)
        PackLoss(model, objective)(next(pack(rows, 10_000)))
        found.append(objective.metrics(objective.take_sums()))

    assert found[0]["effective_sample_size"] == pytest.approx(1, abs=1e-4)
    assert found[0]["ratio"] == pytest.approx(1, abs=1e-4)
    assert found[0]["capped"] == 0
    assert found[0]["expected_gain"] == pytest.approx(0, abs=1e-4)
    assert 0.5 < found[1]["effective_sample_size"] < 0.95
    assert found[1]["capped"] > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_pack_without_rows_adds_nothing_and_can_be_differentiated(
    model: Any, method: str
) -> None:
    _, objective, judged = METHODS[method]
    objective.take_sums()
    [laid] = pack(judged(tries(model)), 10_000)
    value = PackLoss(model, objective)(laid.weightless())
    model.zero_grad()
    value.backward()

    assert value == 0
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)
    assert not any(objective.take_sums().values())


def test_the_expected_gain_rises_as_what_paid_becomes_likelier(model: Any) -> None:
    exact = [
        row._replace(recorded=np.append(0, plain(model, row.ids.tolist()).detach().numpy()))
        for row in tries(model)
    ]
    laid = next(pack(exact, 10_000))
    sampled = laid.row_tokens
    assert sampled.credit.any()
    for sign in (1, -1):
        objective = GroupedRewards(CAP, 1.0)
        moved = torch.zeros(len(laid.targets))
        moved[torch.from_numpy(sampled.token)] = torch.from_numpy(sampled.recorded).to(moved.dtype)
        paid = torch.zeros(len(laid.targets)).index_add(
            0, torch.from_numpy(sampled.token), torch.from_numpy(sampled.credit)
        )
        objective.loss(moved + 0.1 * sign * paid.sign(), laid)
        gain = objective.metrics(objective.take_sums())["expected_gain"]
        assert gain * sign > 0
