"""DeepSpeed trains a tiny Llama for real: what it saves is what it learned."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from agentlm.models.registry import Registry
from agentlm.prompt.render import Renderer
from agentlm.store import Store
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    registered,
    trajectory,
    write_log,
)

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

Metrics = list[dict[str, float]]


@pytest.fixture
def data_dir(data_dir: Path, by: Renderer) -> Path:
    """A log with two judged rows of one beginning, and one that failed."""
    rows = [
        trajectory(conversation(by, "How many programs start with z?", CALL, ANSWER)),
        trajectory(conversation(by, "How many programs are there?", CALL, ANSWER)),
        trajectory(conversation(by, "Hello!", ANSWER), reward=0.0),
    ]
    write_log(data_dir, rows)
    return data_dir


def command(data_dir: Path, *flags: str) -> list[str]:
    program = [sys.executable, "-m", "agentlm.finetune", "--from-logs", "--data-dir", str(data_dir)]
    # The rows are alike on purpose: what they share is packed once.
    return [*program, "--skip-filters", "near_duplicate", *flags]


def finetune(data_dir: Path, *flags: str) -> str:
    done = subprocess.run(command(data_dir, *flags), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def metrics(run: Path) -> Metrics:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["--lora", "--full"])
def test_a_memorisable_log_is_learned_and_registered(data_dir: Path, kind: str) -> None:
    finetune(data_dir, kind, "--name", "next", "--max-steps", "12", "--lr", "0.01")

    losses = [line["loss"] for line in metrics(data_dir / "runs" / "next")]
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 1

    files = Registry(data_dir).resolve(Registry(data_dir).get("next"))
    assert files.card.parent == "tiny"
    assert files.card.tokenizer_digest == Registry(data_dir).get("tiny").tokenizer_digest
    assert (files.adapter is None) == (kind == "--full")
    names_its_base = (data_dir / "runs/next/model/trained_on.json").exists()
    assert names_its_base == (kind == "--lora")
    assert trained_on(data_dir) == {"next": 2}


def test_the_successor_of_an_adapter_goes_on_from_it(data_dir: Path) -> None:
    finetune(data_dir, "--name", "next", "--max-steps", "12", "--lr", "0.01")
    finetune(data_dir, "--base", "next", "--name", "later", "--max-steps", "1")

    first = metrics(data_dir / "runs" / "next")
    second = metrics(data_dir / "runs" / "later")
    assert second[0]["loss"] < first[-1]["loss"]
    card = Registry(data_dir).get("later")
    assert (card.base, card.parent) == ("tiny", "next")


def test_a_run_that_was_killed_can_be_read_and_ends_with_the_same_losses(data_dir: Path) -> None:
    flags = ["--max-steps", "12", "--batch-size", "1", "--save-every", "3", "--lr", "0.01"]
    flags += ["--eval-share", "0.5", "--eval-every", "2"]
    finetune(data_dir, "--name", "whole", *flags)
    begun = [*command(data_dir, "--name", "broken", *flags)]
    with subprocess.Popen(begun, stderr=subprocess.DEVNULL) as process:
        wait_for(data_dir / "runs" / "broken" / "checkpoints" / "latest")
        process.send_signal(signal.SIGKILL)
    run = data_dir / "runs" / "broken"
    done_before = len(metrics(run))
    assert json.loads((run / "report.json").read_text())["steps_done"] >= 1
    assert list((run / "tensorboard").iterdir())
    finetune(data_dir, "--name", "broken", *flags)

    assert 3 <= done_before < 12
    whole, broken = (metrics(data_dir / "runs" / name) for name in ("whole", "broken"))
    assert [line["step"] for line in broken] == list(range(12))
    for name in ("loss", "held_out_loss", "grad_norm"):
        found = [line[name] for line in broken if name in line]
        assert found == pytest.approx([line[name] for line in whole if name in line])
    assert [line["step"] for line in broken if "held_out_loss" in line] == [1, 3, 5, 7, 9, 11]
    report = json.loads((run / "report.json").read_text())
    assert (
        report["best_step"]
        == json.loads((data_dir / "runs" / "whole" / "report.json").read_text())["best_step"]
    )
    assert len(report["starts"]) == 2
    assert not (run / "best").exists()


def test_training_stops_when_held_out_rows_get_worse_and_the_best_weights_are_kept(
    tmp_path: Path, chatml_llama: Path, by: Renderer
) -> None:
    registered(tmp_path, chatml_llama)
    answers = {"How many?": "The capital of France is Paris.", "Who?": "Licensed under these terms"}
    rows = [trajectory(conversation(by, asked, answer * 4)) for asked, answer in answers.items()]
    write_log(tmp_path, rows)
    flags = ["--max-steps", "40", "--lr", "0.02", "--eval-share", "0.5", "--eval-every", "1"]

    output = finetune(tmp_path, "--name", "next", "--full", "--patience", "2", *flags)

    losses = [line["held_out_loss"] for line in metrics(tmp_path / "runs" / "next")]
    best = losses.index(min(losses)) + 1
    assert len(losses) == best + 2 < 40
    assert f"the best weights are those after step {best}: they are the model" in output
    assert "saved and read back" in (tmp_path / "runs" / "next" / "run.log").read_text()
    assert Registry(tmp_path).get("next").parent == "tiny"


def wait_for(path: Path, deadline_s: float = 60) -> None:
    end = time.monotonic() + deadline_s
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.002)


def trained_on(data_dir: Path) -> dict[str, int]:
    """How many rows of the log say they are in each model."""
    counts: dict[str, int] = {}
    with closing(Store.open(f"sqlite:///{data_dir / 'agentlm.db'}")) as store:
        headers, _ = store.page(None, limit=100)
        for header in headers:
            for card in store.trained_on(header.id):
                counts[card] = counts.get(card, 0) + 1
    return counts


def test_a_training_that_distills_comes_back_towards_its_base(
    data_dir: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.jsonl"
    lines = (f"Text {number} that answers nobody at all, and goes on." for number in range(8))
    text.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    finetune(data_dir, "--name", "next", "--max-steps", "12", "--lr", "0.01")

    general = ["--general", str(text), "--general-loss", "distill", "--eta", "0.3"]
    flags = [*general, "--base", "next", "--max-steps", "12", "--lr", "0.01"]
    finetune(data_dir, *flags, "--name", "later")

    apart = [line["divergence"] for line in metrics(data_dir / "runs" / "later")]
    assert apart[-1] < 0.8 * apart[0]
