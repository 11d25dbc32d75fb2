"""Batches are drawn by share and by seed, and come back the same."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from agentlm.finetune.data.dataset import Row, Rows, RowWriter
from agentlm.finetune.data.mixture import Batches, Plan, Source, make_plan


def rows(directory: Path, lengths: list[int]) -> Rows:
    with closing(RowWriter(directory)) as writer:
        for index, length in enumerate(lengths):
            writer.add(Row(f"row{index}", list(range(length)), bytes(i > 0 for i in range(length))))
    return Rows.open(directory)


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    agent = rows(tmp_path / "agent", [10] * 8)
    general = rows(tmp_path / "general", [40] * 30)
    return [Source("agent", agent, 0.2), Source("general", general, 0.8)]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    found = rows(tmp_path, [3, 1, 4])

    assert [found.row(i)[0].tolist() for i in range(3)] == [[0, 1, 2], [0], [0, 1, 2, 3]]
    assert found.row(2)[1].tolist() == [0, 1, 1, 1]
    assert found.trained.tolist() == [2, 0, 3]
    assert list(found.names()) == ["row0", "row1", "row2"]


def test_a_name_of_two_lines_is_one_row(tmp_path: Path) -> None:
    with closing(RowWriter(tmp_path)) as writer:
        writer.add(Row("two\nlines", [1, 2], bytes(2)))
        writer.add(Row("cr\rname", [1, 2], bytes(2)))

    assert list(Rows.open(tmp_path).names()) == ["two lines", "cr\rname"]


def test_a_source_gives_its_share_of_the_rows(sources: list[Source]) -> None:
    plan = make_plan(sources, Batches(rows=10, max_steps=10), unit="rows", seed=1)

    assert (plan.draws[:, 0] == 0).sum() == 20
    assert plan.ends.tolist() == list(range(10, 101, 10))


def test_a_source_gives_its_share_of_the_tokens(sources: list[Source]) -> None:
    plan = make_plan(sources, Batches(rows=10, max_steps=10), unit="tokens", seed=1)

    drawn = [int(sources[s].rows.lengths[r]) for s, r in plan.draws if s == 0]
    total = sum(int(sources[s].rows.lengths[r]) for s, r in plan.draws)
    assert sum(drawn) / total == pytest.approx(0.2, abs=0.02)


def test_every_row_is_drawn_before_any_is_drawn_again(sources: list[Source]) -> None:
    plan = make_plan(sources, Batches(rows=4, epochs=2), unit="rows", seed=1)

    drawn = [int(r) for s, r in plan.draws if s == 0]
    assert sorted(drawn[:8]) == sorted(drawn[8:]) == list(range(8))
    assert drawn[:8] != drawn[8:]


def test_a_step_can_be_filled_by_tokens(sources: list[Source]) -> None:
    plan = make_plan(sources, Batches(rows=1, tokens=200, max_steps=5), unit="rows", seed=1)

    for step in range(5):
        tokens = sum(len(ids) for ids, *_ in plan.batch(step, sources))
        assert 160 < tokens <= 200


def test_a_step_never_repeats_rows_of_a_small_source(tmp_path: Path) -> None:
    few = [Source("agent", rows(tmp_path, [5, 6]), 1.0)]

    plan = make_plan(few, Batches(rows=8, max_steps=3), unit="rows", seed=0)

    assert plan.ends.tolist() == [2, 4, 6]


def test_the_same_seed_gives_the_same_plan(sources: list[Source], tmp_path: Path) -> None:
    batches = Batches(rows=4, epochs=2)
    plan = make_plan(sources, batches, unit="rows", seed=7)
    plan.save(tmp_path / "plan.npz")

    again = make_plan(sources, batches, unit="rows", seed=7)
    other = make_plan(sources, batches, unit="rows", seed=8)
    assert (
        again.draws.tolist()
        == plan.draws.tolist()
        == Plan.load(tmp_path / "plan.npz").draws.tolist()
    )
    assert other.draws.tolist() != plan.draws.tolist()
