"""Two processes do what one does, at every ZeRO stage."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentlm.prompt.render import Renderer
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    registered,
    trajectory,
    write_log,
)

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

WORDS = ("apples", "berries", "cherries", "damsons", "elderberries", "figs")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory, chatml_llama: Path, by: Renderer) -> Path:
    directory = tmp_path_factory.mktemp("processes")
    registered(directory, chatml_llama)
    rows = [conversation(by, f"How many {word} are left?", CALL, ANSWER) for word in WORDS]
    write_log(directory, [trajectory(steps) for steps in rows])
    return directory


def train(data_dir: Path, name: str, *flags: str, processes: int = 1) -> list[float]:
    """Run as DeepSpeed's launcher starts it; returns the losses, those of held-out rows last."""
    command = [sys.executable, "-m", "agentlm.finetune", "--from-logs", "--name", name]
    command += ["--data-dir", str(data_dir), "--max-steps", "4", "--lr", "0.01", *flags]
    command += ["--precision", "float32"]  # losses are compared to 1e-4
    # Packs of one row, so that there is something to share out; odd in number, so one rank idles.
    command += ["--batch-size", "3", "--pack-tokens", "2", "--skip-filters", "near_duplicate"]
    command += ["--eval-share", "0.34", "--eval-every", "2"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = [
        {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        for rank in range(processes)
    ]
    running = [
        subprocess.Popen(
            [*command[:3], f"--local_rank={place['RANK']}", *command[3:]], env=os.environ | place
        )
        for place in places
    ]
    assert [process.wait() for process in running] == [0] * processes
    lines = (data_dir / "runs" / name / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    held_out = [line["held_out_loss"] for line in found if "held_out_loss" in line]
    assert len(held_out) == 2
    norms = [line["grad_norm"] for line in found]
    return [*(line["loss"] for line in found), *norms, *held_out]


@pytest.fixture(scope="module")
def alone(data_dir: Path) -> list[float]:
    return train(data_dir, "alone", "--full")


@pytest.mark.parametrize(
    "stage",
    [pytest.param(0, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.slow), 2, 3],
)
def test_two_processes_give_the_losses_of_one(
    data_dir: Path, alone: list[float], stage: int
) -> None:
    flags = ["--full", "--zero-stage", str(stage)]

    losses = train(data_dir, f"two-{stage}", *flags, processes=2)

    assert losses == pytest.approx(alone, rel=1e-4)


def test_an_adapter_trained_under_zero_3_is_whole(data_dir: Path) -> None:
    # Reading it back and comparing is part of the program: an empty adapter would fail there.
    losses = train(data_dir, "two-lora", "--zero-stage", "3", processes=2)

    assert losses[3] < losses[0]


def test_two_processes_distill_what_one_does(data_dir: Path, tmp_path: Path) -> None:
    # One process has an imitated row where the other has none: modules are still gathered in step.
    text = tmp_path / "text.jsonl"
    lines = (f"Text {number} about {word}, and more." for number, word in enumerate(WORDS))
    text.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    flags = ["--general", str(text), "--general-loss", "distill", "--eta", "0.5"]

    alone = train(data_dir, "distill-alone", *flags)
    together = train(data_dir, "distill-two", *flags, "--zero-stage", "3", processes=2)

    assert together == pytest.approx(alone, rel=1e-3)
