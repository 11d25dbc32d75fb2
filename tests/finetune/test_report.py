"""A run can be read while it trains, and says how it came about."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from agentlm.finetune.data.prepare import Prepared, prepare
from agentlm.finetune.report.live import live_report
from agentlm.finetune.report.report import write_report
from agentlm.finetune.report.start import public_command, start_record
from agentlm.finetune.settings import FinetuneSettings
from agentlm.jobs.training_run import read_training_run
from agentlm.prompt.render import Renderer
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    trajectory,
    write_log,
)


@pytest.fixture
def prepared(data_dir: Path, by: Renderer) -> Prepared:
    asked = ("How many apples?", "Who sang?")
    write_log(data_dir, [trajectory(conversation(by, text, CALL, ANSWER)) for text in asked])
    settings = {"from_logs": True, "skip_filters": ("near_duplicate",), "batch_size": 1}
    return prepare(FinetuneSettings(data_dir=data_dir, epochs=2, **settings))


def line(step: int, **measured: float) -> dict[str, float]:
    plain = {"loss": 2.0, "lr": 0.1, "grad_norm": 0.5, "rows": 1, "seconds": 40.0}
    tokens = {"tokens": 90, "computed_tokens": 80, "trained_tokens": 20.0}
    return {"step": step} | plain | tokens | measured


def test_a_run_that_is_killed_after_its_first_step_has_a_report(prepared: Prepared) -> None:
    run, plan = prepared.run, prepared.plan()
    run.add_start(start_record())
    with live_report(prepared, plan) as report:
        run.add_metrics(line(0))
        report.report(line(0))

        numbers = run.read("report.json")
        assert (numbers["steps_done"], numbers["steps"]) == (1, 4)
        page = (run.directory / "report.html").read_text()
        assert "1 of 4" in page
        assert "trained for<td>40.0 s" in page
        assert "light-dark(" in page
        assert "default-src 'none'" in page
        seen = read_training_run(run.directory)
        assert (seen.steps, seen.steps_done, seen.curve.loss) == (4, 1, (2.0,))
        assert seen.sources["agent"]["rows"] == len(seen.samples["agent"]) == 2
        learned = [text for text, trained in seen.samples["agent"][0] if trained]
        assert "Final Answer" in learned[-1]
        [events] = (run.directory / "tensorboard").iterdir()
        assert {b"loss", b"lr", b"grad_norm"} <= tags(events)


def tags(events: Path) -> set[bytes]:
    """The names in TensorBoard's records: length, check, content, check."""
    data, found = events.read_bytes(), set()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        record, data = data[12 : 12 + length], data[16 + length :]
        found |= {
            name
            for name in (b"loss", b"lr", b"grad_norm")
            if b"\n" + bytes([len(name)]) + name in record
        }
    return found


def test_the_report_says_when_and_how_the_run_was_started(prepared: Prepared) -> None:
    run = prepared.run
    for word in ("first", "second"):
        record = {"time": "2026-01-02T03:04:05+00:00", "command": word, "version": "1.2"}
        run.add_start(record | {"commit": "abc123"})
    for step in range(3):
        run.add_metrics(line(step, held_out_loss=(1.5, 1.2, 1.3)[step]))

    write_report(run, prepared.sources(), prepared.plan(), prepared.renderer().decode_verbatim)

    page = (run.directory / "report.html").read_text()
    assert "begun<td>2026-01-02T03:04:05+00:00: first; agentlm 1.2 (abc123)" in page
    assert "gone on<td>2026-01-02T03:04:05+00:00: second" in page
    assert "2 min 0 s" in page
    assert "1.5000 → 1.3000; least after step 2: 1.2000" in page
    assert run.read("report.json")["held_out_loss"] == [[1, 1.5], [2, 1.2], [3, 1.3]]


def test_a_mixture_of_one_source_draws_no_mixture(prepared: Prepared) -> None:
    prepared.run.add_metrics(line(0))

    write_report(
        prepared.run, prepared.sources(), prepared.plan(), prepared.renderer().decode_verbatim
    )

    drawn = {path.stem for path in prepared.run.directory.glob("*.png")}
    assert drawn == {"loss", "learning_rate", "gradient_norm", "lengths", "trained_share", "drops"}


def test_a_curve_of_one_point_is_seen() -> None:
    from matplotlib.figure import Figure

    from agentlm.finetune.report import plots

    axes = Figure().subplots()
    plots._loss(axes, [line(0, held_out_loss=1.0)])

    assert [curve.get_marker() for curve in axes.get_lines()] == ["o", "o"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["trained on", "held out"]

    axes = Figure().subplots()
    plots._loss(axes, [line(step) for step in range(100)])
    assert [curve.get_marker() for curve in axes.get_lines()] == ["None"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/x/agentlm", "finetune", "--lr", "1"], "agentlm finetune --lr 1"),
        (["agentlm", "--api-key", "s3cret", "--lora"], "agentlm --api-key … --lora"),
        (["agentlm", "--judge-api-key=s3cret"], "agentlm --judge-api-key=…"),
        (
            ["agentlm", "--store-url", "postgresql://me:pw@h/db"],
            "agentlm --store-url postgresql://…@h/db",
        ),
    ],
)
def test_a_command_is_told_without_its_secrets(argv: list[str], expected: str) -> None:
    command = public_command(argv).replace("'", "")

    assert command == expected
    assert "s3cret" not in command


def test_a_start_names_the_commit_that_the_program_is_of() -> None:
    record = json.loads(json.dumps(start_record()))

    assert {"time", "command", "version"} <= record.keys()
    assert record.get("commit", "0" * 12).removesuffix("-dirty").isalnum()
