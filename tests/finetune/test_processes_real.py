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
    source = [] if "--data" in flags else ["--from-logs"]
    command = [sys.executable, "-m", "agentlm.finetune", *source, "--name", name]
    command += ["--data-dir", str(data_dir), "--max-steps", "4", "--lr", "0.01"]
    command += ["--precision", "float32"]  # losses are compared to 1e-4
    # Packs of one row, so that there is something to share out; odd in number, so one rank idles.
    command += ["--batch-size", "3", "--pack-tokens", "2", "--skip-filters", "near_duplicate"]
    command += ["--eval-share", "0.34", "--eval-every", "2", *flags]
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
    assert held_out
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


MANY = 400
"""Packs of a step. In 16 bits, equal numbers stop adding up at the 257th."""


@pytest.mark.parametrize(
    "stage", [0, *(pytest.param(stage, marks=pytest.mark.slow) for stage in (1, 2, 3))]
)
def test_a_step_of_many_packs_adds_up_in_16_bits_too(
    data_dir: Path, alike: str, exact: float, stage: int
) -> None:
    flags = [*alike.split(), "--precision", "bfloat16", "--zero-stage", str(stage)]

    _, norm, _ = train(data_dir, f"many-{stage}", *flags)

    assert norm == pytest.approx(exact, rel=0.01)


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Flags for a step of rows that differ in a number alone."""
    path = tmp_path_factory.mktemp("alike") / "rows.jsonl"
    said = [(f"How many of {number} are left?", "None of them.") for number in range(MANY + 2)]
    rows = [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        for asked, answer in said
    ]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return f"--data {path} --batch-size {MANY} --max-steps 1 --eval-share 0.005"


@pytest.fixture(scope="module")
def exact(data_dir: Path, alike: str) -> float:
    _, norm, _ = train(data_dir, "many", *alike.split())
    return norm


def test_two_processes_distill_what_one_does(data_dir: Path, tmp_path: Path) -> None:
    # One process has an imitated row where the other has none: modules are still gathered in step.
    text = tmp_path / "text.jsonl"
    lines = (f"Text {number} about {word}, and more." for number, word in enumerate(WORDS))
    text.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    flags = ["--general", str(text), "--general-loss", "distill", "--eta", "0.5"]

    alone = train(data_dir, "distill-alone", *flags)
    together = train(data_dir, "distill-two", *flags, "--zero-stage", "3", processes=2)

    assert together == pytest.approx(alone, rel=1e-3)
