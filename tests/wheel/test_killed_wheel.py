"""A wheel with real vLLM and training, killed and interrupted on its way, does nothing twice."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agentlm.cli import main
from agentlm.models.aliases import Aliases
from agentlm.store import Store
from agentlm.store.selection import Selection
from support.processes import interruptible
from support.tiny import ends_its_turns, tiny_llama

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1800)]

TASKS, TRIES, STEPS, SAVED = 40, 4, 40, 5
WORLD = '''
from collections.abc import Iterator

from agentlm.environments.adapters.world import Problem, World


class Vowels(World):
    """Say something with many vowels."""

    @staticmethod
    def tasks(split: str, seed: int) -> Iterator[Problem]:
        for number in range(1000):
            yield Problem(f"Number {number} of {split}, {seed}.", {"number": number})

    def score(self, answer: str) -> float:
        letters = [letter for letter in answer.lower() if letter.isalpha()]
        return sum(letter in "aeiou" for letter in letters) / max(1, len(letters))
'''


class TurningWheel:
    """The command, in a directory of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / "data"
        self.tries = self.data / "rollouts" / "wheel-1-vowels-py-vowels" / "results.jsonl"
        self.run = self.data / "runs" / "wheel-1"
        self.output = home / "output.txt"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def start(self) -> subprocess.Popen[bytes]:
        flags = {
            "--env": "vowels.py:Vowels",
            "--base": "tiny",
            "--turns": "1",
            "--limit": str(TASKS),
            "--gate-tasks": "4",
            "--test-tasks": "4",
            "--budget-hours": "0.5",
            "--port": str(self.port),
            "--data-dir": str(self.data),
            "--serve-flags": "--kv-cache-memory-bytes 600000000",
            "--rollout-flags": f"--tries {TRIES} --max-tokens 40 --concurrency 2",
            "--finetune-flags": f"--max-steps {STEPS} --lr 1e-4 --save-every {SAVED}",
            # Whatever was learned passes: it is the way that is tested.
            "--gate-flags": "--gate-max-loss 1 --gate-min-gain -1 --gate-general []",
        }
        words = [f"{name}={value}" for name, value in flags.items()]
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "agentlm.cli", "wheel", *words],
                cwd=self.home,
                stderr=output,
                preexec_fn=interruptible,
            )

    def turn_to_its_end(self) -> str:
        """What it printed by then."""
        with self.start() as wheel:
            wheel.wait(timeout=900)
        assert wheel.returncode == 0, self.output.read_text()
        return self.output.read_text()

    def end(self, by: signal.Signals, when: Callable[[], bool]) -> int:
        """Start it, and send it a signal as soon as it has got so far; its exit code."""
        with self.start() as wheel:
            try:
                wait_until(lambda: when() or wheel.poll() is not None)
                assert wheel.poll() is None, self.output.read_text()
                wheel.send_signal(by)
                wheel.wait(timeout=120)
            finally:
                wheel.kill()
        return wheel.returncode  # the next one waits for what this one's server has left to do

    def serves(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def played(self) -> dict[tuple[str, int], str]:
        """The trajectory of each try; a try has a second line once its score is in the log."""
        lines = self.tries.read_text().splitlines() if self.tries.exists() else []
        tries = [json.loads(line) for line in lines[1:] if line.endswith("}")]
        return {(it["task_id"], it["attempt"]): it["trajectory_id"] for it in tries}

    def trained(self) -> list[dict[str, Any]]:
        file = self.run / "metrics.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def marks(self) -> dict[str, dict[str, Any]]:
        files = (self.data / "wheels" / "wheel" / "steps").glob("*.json")
        return {file.stem: json.loads(file.read_text()) for file in files}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_wheel_that_is_killed_at_play_at_training_and_at_the_gate_does_nothing_twice(
    tmp_path: Path,
) -> None:
    wheel = TurningWheel(tmp_path)
    model = ends_its_turns(tiny_llama(tmp_path / "tiny", "chatml"))
    (tmp_path / "vowels.py").write_text(WORLD)
    assert main(["models", "add", "tiny", "--path", str(model), "--data-dir", str(wheel.data)]) == 0

    assert wheel.end(signal.SIGKILL, lambda: len(wheel.played()) >= 10) == -signal.SIGKILL
    first = wheel.played()
    assert len(first) < TASKS * TRIES

    assert wheel.end(signal.SIGKILL, lambda: len(wheel.trained()) >= 8) == -signal.SIGKILL
    assert first.items() <= wheel.played().items()
    steps = wheel.trained()
    assert len(steps) < STEPS
    assert "train-1" in wheel.marks()

    gate = wheel.data / "evaluations" / "gate-wheel-1"
    assert wheel.end(signal.SIGINT, lambda: any(gate.glob("*-unconstrained-*.jsonl"))) == 130
    assert wheel.trained()[:SAVED] == steps[:SAVED]  # later ones were done again
    numbers = [step["step"] for step in wheel.trained()]
    assert numbers == list(range(len(numbers)))  # as many as the rows are young enough for

    printed = wheel.turn_to_its_end()

    assert "step 1 of" not in printed
    assert "agentlm finetune" not in printed
    assert all(mark["ended"] for mark in wheel.marks().values())
    assert first.items() <= wheel.played().items()
    assert len(wheel.played()) == TASKS * TRIES
    with closing(Store.open(f"sqlite:///{wheel.data / 'agentlm.db'}")) as store:
        rewarded = Selection(tags={"wheel": "wheel-1"}, min_reward=0)
        scored = Counter(one.task_id for one in store.select(rewarded))
    assert len(scored) == TASKS
    assert set(scored.values()) == {TRIES}
    assert [it.card for it in Aliases(wheel.data).history("production")] == ["tiny", "wheel-1"]
    assert "| 1 | tiny | 160 |" in (wheel.data / "wheels" / "wheel" / "wheel.md").read_text()
    again = (wheel.run / "metrics.jsonl").stat().st_mtime_ns
    assert "the wheel ends: its test was begun" in wheel.turn_to_its_end()
    assert not wheel.serves()
    assert (wheel.run / "metrics.jsonl").stat().st_mtime_ns == again
