"""A machine for plans that needs no time and can die at any moment."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from agentlm.commands.reproduction import experiment as experiment_module
from agentlm.commands.reproduction.experiment import Experiment
from agentlm.commands.reproduction.plan import Plan
from agentlm.commands.reproduction.run import run_plan
from agentlm.files import write_text

HOUR = 3600.0


class Killed(BaseException):
    """As by kill -9: nothing of the program runs after it."""


@dataclass
class Moments:
    """Counts what happens; the process dies at one of them."""

    death: int | None = None
    count: int = 0

    def pass_one(self) -> None:
        self.count += 1
        if self.count == self.death:
            raise Killed


@dataclass
class FakeMachine:
    """Commands take an hour each and write what they make, the directory's files apart."""

    directory: Path
    moments: Moments = field(default_factory=Moments)
    clock: list[float] = field(default_factory=lambda: [1000.0])
    ran: list[str] = field(default_factory=list)
    """Commands that came to their end."""
    serving: str | None = None
    served: list[str] = field(default_factory=list)
    """For each command that ran, the model that was served meanwhile."""
    fails: Callable[[Sequence[str]], int] = lambda _: 0
    base_weights: str = "w0"
    room_gb: float = 100.0

    def run(self, words: Sequence[str]) -> int:
        self.moments.pass_one()
        self.clock[0] += HOUR / 2
        self.moments.pass_one()
        if code := self.fails(words):
            return code
        command, flags = words[0], dict(pairwise(words))
        if command == "finetune":
            write_text(self.directory / "cards" / flags["--name"], "{}")
        elif output := flags.get("--output"):
            write_text(self.directory / output, json.dumps(words))
        self.ran.append(" ".join(words))
        self.served.append(self.serving or "")
        self.moments.pass_one()
        self.clock[0] += HOUR / 2
        return 0

    def serve(self, model: str, words: Sequence[str]) -> None:
        assert self.serving is None, "two servers at once"
        self.moments.pass_one()
        self.serving = model

    def stop_serving(self) -> None:
        self.serving = None

    def models(self) -> frozenset[str]:
        cards = self.directory / "cards"
        return frozenset(path.name for path in cards.iterdir()) if cards.exists() else frozenset()

    def weights(self, model: str) -> str | None:
        return self.base_weights

    def about(self) -> tuple[str | None, str]:
        return None, "none"

    def free_gb(self) -> float:
        return self.room_gb

    def now(self) -> float:
        self.moments.pass_one()
        return self.clock[0]


def run(plan: Plan, machine: FakeMachine, lines: list[str] | None = None) -> Counter[str]:
    """Run a plan as the command does; returns how often each command came to its end."""
    experiment = Experiment(machine.directory)
    with experiment.held():
        run_plan(plan, experiment, machine, (lines if lines is not None else []).append)
    return Counter(machine.ran)


def writes_are_moments(moments: Moments, monkeypatch: object) -> None:
    """The process can die before and after each mark is written."""

    def write(path: Path, text: str) -> None:
        moments.pass_one()
        write_text(path, text)
        moments.pass_one()

    monkeypatch.setattr(experiment_module, "write_text", write)  # type: ignore[attr-defined]
