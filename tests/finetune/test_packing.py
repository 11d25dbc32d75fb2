"""Packs compute what the rows would, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from agentlm.finetune.data.dataset import TokenRow
from agentlm.finetune.training.attention import PACK_ATTENTION, PackLayout, refusal, register
from agentlm.finetune.training.gated import keep_less
from agentlm.finetune.training.loss.pack_loss import PackLoss
from agentlm.finetune.training.loss.sft import Imitation
from agentlm.finetune.training.one_call import TILE, tiles
from agentlm.finetune.training.packing import Pack, Segment, pack


def token_row(ids: list[int], trained_from: int) -> TokenRow:
    loss = np.array([i >= trained_from for i in range(len(ids))], np.uint8)
    return TokenRow(np.array(ids, np.int32), loss)


def family(seed: int = 0) -> list[TokenRow]:
    """Rows with a common preamble, two of them with a common second turn, and a stranger."""
    random = np.random.default_rng(seed)

    def ids(n: int) -> list[int]:
        return random.integers(5, 200, n).tolist()

    preamble, task = ids(40), ids(20)
    rows = [
        token_row(preamble + task + ids(19), 62),
        token_row(preamble + task + ids(15), 61),
        token_row(preamble + ids(12), 42),
        token_row(ids(33), 10),
    ]
    return [*rows, rows[0]]


@pytest.fixture(scope="module")
def model(chatml_llama: Path) -> PackLoss:
    register()
    return PackLoss(
        AutoModelForCausalLM.from_pretrained(chatml_llama, attn_implementation=PACK_ATTENTION),
        Imitation(),
    )


def one_by_one(loss: PackLoss, rows: list[TokenRow]) -> torch.Tensor:
    """What transformers itself computes, without any of our code."""
    model: Any = loss.model
    model.set_attn_implementation("sdpa")
    total = torch.zeros(())
    for ids, marks, *_ in rows:
        labels = torch.tensor([int(i) if m else -100 for i, m in zip(ids, marks, strict=True)])
        logits = model(input_ids=torch.tensor(ids, dtype=torch.long)[None]).logits[0]
        total = total + torch.nn.functional.cross_entropy(
            logits[:-1], labels[1:], ignore_index=-100, reduction="sum"
        )
    model.set_attn_implementation(PACK_ATTENTION)
    return total


def gradients(loss: PackLoss, value: torch.Tensor) -> dict[str, torch.Tensor]:
    loss.zero_grad()
    value.backward()
    return {name: p.grad.clone() for name, p in loss.named_parameters() if p.grad is not None}


def test_a_pack_shares_every_common_beginning() -> None:
    [laid] = pack(family(), 10_000)

    assert len(laid.ids) == 40 + 20 + 19 + 15 + 12 + 33
    assert laid.weights.sum() == sum(loss.sum() for _, loss, *_ in family())


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("max_tokens", [80, 10_000])
def test_packed_loss_and_gradients_equal_the_unpacked(
    model: PackLoss, share: bool, max_tokens: int
) -> None:
    rows = family()
    expected = one_by_one(model, rows)
    expected_gradients = gradients(model, expected)

    packs = list(pack(rows, max_tokens, share=share))
    packed = torch.stack([model(laid) for laid in packs]).sum()

    torch.testing.assert_close(packed, expected, rtol=1e-5, atol=1e-5)
    for name, gradient in gradients(model, packed).items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-4, atol=1e-5)


def test_checkpointed_activations_change_nothing(model: PackLoss) -> None:
    [laid] = pack(family(), 10_000)
    plain = gradients(model, model(laid))
    model.train()
    model.model.gradient_checkpointing_enable({"use_reentrant": False})
    again = gradients(model, model(laid))
    model.model.gradient_checkpointing_disable()
    model.eval()

    for name, gradient in again.items():
        torch.testing.assert_close(gradient, plain[name], rtol=1e-5, atol=1e-6)


def test_products_that_are_computed_again_change_nothing(chatml_llama: Path) -> None:
    [laid] = pack(family(), 10_000)
    loss = PackLoss(
        AutoModelForCausalLM.from_pretrained(chatml_llama, attn_implementation=PACK_ATTENTION),
        Imitation(),
    )
    plain, kept = gradients_and_kept(loss, laid)
    keep_less(loss.model)
    again, kept_less = gradients_and_kept(loss, laid)

    assert kept_less < kept
    for name, gradient in again.items():
        torch.testing.assert_close(gradient, plain[name], rtol=0, atol=0)


def gradients_and_kept(loss: PackLoss, laid: Pack) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients, and the numbers that were kept for the backward pass."""
    kept = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss(laid)
    return gradients(loss, value), kept


def test_eight_tries_at_a_task_compute_hardly_more_than_their_distinct_tokens() -> None:
    """At most a tenth more: what is too short to be split off, and where a pack is full."""
    random = np.random.default_rng(3)

    def ids(n: int) -> list[int]:
        return random.integers(5, 200, n).tolist()

    rows = []
    for _ in range(4):
        prompt, turns = ids(300), [ids(40) for _ in range(2)]
        rows += [token_row(prompt + turns[n % 2] + ids(60 + 10 * n), 300) for n in range(8)]
    computed = sum(len(laid.ids) for laid in pack(rows, 4096))
    distinct = len({row.ids[: at + 1].tobytes() for row in rows for at in range(len(row.ids))})

    assert 0.9 * computed <= distinct <= computed


def test_packs_are_cut_between_tasks_and_not_between_tries_at_one() -> None:
    """Filled up one after the other, two packs of three would have tries of two tasks."""
    random = np.random.default_rng(5)
    rows = []
    for _ in range(3):
        prompt = random.integers(5, 200, 400).tolist()
        own = [random.integers(5, 200, 50).tolist() for _ in range(8)]
        rows += [token_row(prompt + turn, 400) for turn in own]

    packs = list(pack(rows, 1000))

    assert [len(laid.ids) for laid in packs] == [800] * 3
    [together] = pack(rows[:8], 1000)
    assert len(together.ids) == 800


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 100))
def test_no_pack_is_larger_than_it_may_be_unless_one_row_is(sizes: list[int], limit: int) -> None:
    rows = [token_row([7 + n] * size, 0) for n, size in enumerate(sizes)]

    packs = list(pack(rows, limit))

    assert sorted(
        size
        for laid in packs
        for size in np.diff([s.start for s in laid.segments] + [len(laid.ids)])
    ) == sorted(sizes)
    assert all(len(laid.ids) <= limit or len(laid.segments) == 1 for laid in packs)


rows_strategy = st.lists(
    st.builds(
        lambda head, tail, cut: token_row([*([7] * 18 * head), *tail], cut),
        st.integers(0, 3),
        st.lists(st.integers(0, 3), min_size=1, max_size=30),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(rows_strategy, st.integers(20, 200))
def test_every_row_can_be_read_back_from_its_packs(rows: list[TokenRow], limit: int) -> None:
    packs = list(pack(rows, limit))

    found = [ids for laid in packs for ids in sequences(laid)]
    assert {tuple(ids.tolist()) for ids, *_ in rows} <= {tuple(ids) for ids in found}
    trained = sum(int(loss[1:].sum()) for _, loss, *_ in rows)
    assert sum(laid.weights.sum() for laid in packs) == trained


def sequences(laid: Pack) -> list[list[int]]:
    """The path from a root to each segment, and to each place inside it, as ids."""
    paths: list[list[int]] = []
    for segment in laid.segments:
        above = paths[segment.parent] if segment.parent >= 0 else []
        ids = laid.ids[segment.start : segment.end].tolist()
        paths.append(above + ids)
    return paths


def test_distilled_rows_are_in_packs_of_their_own() -> None:
    rows = [row._replace(distilled=index % 2 == 0) for index, row in enumerate(family())]

    packs = list(pack(rows, 4096))

    assert [(one.distilled, len(one.rows)) for one in packs] == [(False, 2), (True, 3)]


# -- one call for a pack ------------------------------------------------------------------------


def forest(sizes: list[int], depths: list[int]) -> tuple[Segment, ...]:
    """Segments in depth-first order: each continues the last one of the depth above its own."""
    segments: list[Segment] = []
    path: list[int] = []
    start = 0
    for size, depth in zip(sizes, depths, strict=True):
        path = path[:depth]
        segments.append(Segment(start, start + size, path[-1] if path else -1))
        path.append(len(segments) - 1)
        start += size
    return tuple(segments)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 4)), min_size=1, max_size=9))
def test_the_tiles_of_a_pack_show_each_token_what_its_segments_show(
    shapes: list[tuple[int, int]],
) -> None:
    segments = forest(*map(list, zip(*shapes, strict=True)))
    layout = PackLayout(segments, torch.device("cpu"), torch.float32)
    tokens = segments[-1].end
    expected = torch.zeros(tokens, tokens, dtype=torch.bool)
    for path in layout.paths:
        own = segments[path[-1]]
        for index in path[:-1]:
            expected[own.start : own.end, segments[index].start : segments[index].end] = True
        expected[own.start : own.end, own.start : own.end] = torch.ones(
            own.end - own.start, own.end - own.start, dtype=torch.bool
        ).tril()

    mask = tiles(segments, torch.device("cpu"))
    at = torch.arange(tokens)
    shown = mask.mask_mod(torch.zeros(()), torch.zeros(()), at[:, None], at[None, :])
    assert torch.equal(shown, expected)
    for query in range(0, tokens, TILE):
        row = query // TILE
        masked = mask.kv_indices[0, 0, row, : mask.kv_num_blocks[0, 0, row]].tolist()
        assert mask.full_kv_indices is not None
        assert mask.full_kv_num_blocks is not None
        whole = mask.full_kv_indices[0, 0, row, : mask.full_kv_num_blocks[0, 0, row]].tolist()
        for key in range(0, tokens, TILE):
            tile = expected[query : query + TILE, key : key + TILE]
            column = key // TILE
            assert (column in whole) == (bool(tile.all()) and tile.shape == (TILE, TILE))
            assert (column in masked) == (bool(tile.any()) and column not in whole)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_one_call_computes_what_a_call_for_each_segment_does(model: PackLoss) -> None:
    [laid] = pack(family(), 10_000)
    with torch.no_grad():  # on a CPU the library has no backward pass
        one_by_one = model.hidden(laid)
        model.one_call = True
        together = model.hidden(laid)
        model.one_call = False

    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-5)


def test_a_cpu_is_refused_one_call(model: PackLoss) -> None:
    why = refusal(model.model.config, torch.float32, torch.device("cpu"))
    assert why == "has no backward pass on a CPU"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_attends_in_one_call(model: PackLoss, dtype: torch.dtype) -> None:
    assert refusal(model.model.config, dtype, torch.device("cuda")) is None
