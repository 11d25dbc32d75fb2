"""A file of a run that is not as it was written is said in one sentence."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from agentlm.errors import OperatorError
from agentlm.finetune.data.dataset import Judged, Row, Rows, RowWriter
from agentlm.finetune.data.mixture import Batches, Plan, Source, make_plan
from agentlm.finetune.run import Run, room_needed

ROWS = ("rows.npy", "ids.bin", "loss.bin", "names.txt")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    with closing(RowWriter(tmp_path / "agent")) as writer:
        for index in range(8):
            writer.add(Row(f"row{index}", list(range(10)), bytes(10)))
    source = Source("agent", Rows.open(tmp_path / "agent"), 1.0)
    make_plan([source], Batches(rows=4), unit="rows", seed=0).save(tmp_path / "plan.npz")
    run = Run(tmp_path)
    run.write("recipe.json", {"base": "tiny"})
    run.add_metrics({"step": 0, "loss": 1.0})
    return run


def read(run: Run) -> None:
    list(Rows.open(run.directory / "agent").names())
    Plan.load(run.directory / "plan.npz")
    run.read("recipe.json")
    run.metrics()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    path.write_bytes(b"\xff\x00 no such thing\n" + path.read_bytes())


@pytest.mark.parametrize("harm", [truncated, emptied, garbled, Path.unlink])
@pytest.mark.parametrize("name", [*(f"agent/{name}" for name in ROWS), "plan.npz", "recipe.json"])
def test_a_damaged_file_is_named(run: Run, name: str, harm: Callable[[Path], None]) -> None:
    read(run)
    harm(run.directory / name)

    with pytest.raises(OperatorError) as caught:
        read(run)
    message = str(caught.value)
    assert str(run.directory / name) in message
    assert "is damaged or not whole: " in message
    assert "delete the run's directory" in message


def test_a_line_of_metrics_that_is_none_is_named_and_a_cut_off_last_one_is_not(run: Run) -> None:
    path = run.directory / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 1, "lo')
    assert [line["step"] for line in run.metrics()] == [0]

    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(OperatorError, match=r"metrics.jsonl is damaged .* line 1 is not JSON"):
        run.metrics()


def test_a_plan_of_other_steps_is_named(run: Run) -> None:
    plan = Plan.load(run.directory / "plan.npz")
    Plan(plan.draws[:-1], plan.ends).save(run.directory / "plan.npz")

    with pytest.raises(OperatorError, match="not of one plan"):
        Plan.load(run.directory / "plan.npz")


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0: file write"),
        chained(RuntimeError("unexpected pos 64 vs 0"), OSError(errno.ENOSPC, "full")),
    ],
)
def test_a_disk_that_is_full_is_one_sentence_whoever_noticed(
    tmp_path: Path, error: Exception
) -> None:
    words = "is full; make room, and the same command goes on"
    with pytest.raises(OperatorError, match=words), room_needed(tmp_path):
        raise error


def test_what_is_not_the_disks_fault_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="another"), room_needed(tmp_path):
        raise RuntimeError("another")


@pytest.mark.parametrize("name", ["judged.npy", "recorded.bin", "credit.bin"])
def test_what_a_reward_said_is_whole_or_said_to_be_damaged(tmp_path: Path, name: str) -> None:
    with closing(RowWriter(tmp_path)) as writer:
        for unit in (0, 0, 1):
            judged = Judged(np.full(4, -0.5, np.float32), np.ones(4, np.float32), unit, age=2)
            writer.add(Row("row", [1, 2, 3, 4], bytes([0, 0, 1, 1]), judged))
    rows = Rows.open(tmp_path)
    assert rows.unit_ends.tolist() == [2, 3]
    assert rows.token_row(2).number == 2
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])

    with pytest.raises(OperatorError, match=f"{name} is damaged or not whole"):
        Rows.open(tmp_path)
