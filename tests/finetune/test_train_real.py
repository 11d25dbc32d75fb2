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


def test_a_run_that_was_killed_ends_with_the_same_losses(data_dir: Path) -> None:
    flags = ["--max-steps", "12", "--batch-size", "1", "--save-every", "3", "--lr", "0.01"]
    finetune(data_dir, "--name", "whole", *flags)
    begun = [*command(data_dir, "--name", "broken", *flags)]
    with subprocess.Popen(begun, stderr=subprocess.DEVNULL) as process:
        wait_for(data_dir / "runs" / "broken" / "checkpoints" / "latest")
        process.send_signal(signal.SIGKILL)
    done_before = len(metrics(data_dir / "runs" / "broken"))
    finetune(data_dir, "--name", "broken", *flags)

    assert 3 <= done_before < 12
    whole, broken = (metrics(data_dir / "runs" / name) for name in ("whole", "broken"))
    assert [line["step"] for line in broken] == list(range(12))
    assert [line["loss"] for line in broken] == pytest.approx([line["loss"] for line in whole])


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
