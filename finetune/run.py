"""A run's directory: everything that was read, decided and measured, in readable files.

recipe.json          what decides the weights: a run continues only with the same recipe
selection.json       rows seen, and how many each filter dropped, with examples
agentinstruct.jsonl  the selected trajectories
agent/ …             token rows of each source of the mixture
rewards.json         for a run that learns from rewards: how many rows of each kind it has
plan.npz             which rows each step takes
metrics.jsonl        one line per optimizer step
held-out/            token rows that the loss is measured on
starts.json          when the run was begun and continued, by which command and version
checkpoints/         the last one, to continue from
best/                the weights with the lowest held-out loss so far
run.log              what was printed
model/               the result
report.json          all numbers in one place
samples.json         some rows as they are trained on, split where that begins and ends
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentlm.errors import OperatorError
from agentlm.files import alone, write_text


def damaged(path: Path, reason: str) -> OperatorError:
    """The error for a file of a run that is not as it was written."""
    return OperatorError(
        f"{path} is damaged or not whole: {reason}. Restore it, or delete the run's directory to "
        "begin again"
    )


_NO_ROOM = (os.strerror(errno.ENOSPC), "PytorchStreamWriter failed writing")


@contextmanager
def room_needed(directory: Path) -> Iterator[None]:
    """Report in one sentence that the disk is full, whichever library notices it.

    Complete files stay: a run continues from its last checkpoint.
    """
    try:
        yield
    except Exception as error:
        if not _no_room(error):
            raise
        raise OperatorError(
            f"the disk of {directory} is full; make room, and the same command goes on from what "
            "is there"
        ) from error


def _no_room(error: BaseException) -> bool:
    """Whether it or one of its causes is a full disk; safetensors and torch only mention it in
    text."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or any(words in str(error) for words in _NO_ROOM):
        return True
    before = error.__cause__ or error.__context__
    return before is not None and _no_room(before)


@dataclass(frozen=True)
class Run:
    """One run, by its directory, whose name is the new model's."""

    directory: Path

    @property
    def name(self) -> str:
        return self.directory.name

    def held(self) -> AbstractContextManager[None]:
        """Held during training. Raises OperatorError if another process trains the run."""
        return alone(
            self.directory.with_name(f".{self.name}.lock"),
            f"{self.name} is being trained already: use another --name, or wait for it",
        )

    @property
    def checkpoints(self) -> Path:
        """DeepSpeed's directory of checkpoints."""
        return self.directory / "checkpoints"

    @property
    def best(self) -> Path:
        """The directory of the weights with the lowest held-out loss."""
        return self.directory / "best"

    @property
    def model(self) -> Path:
        """The trained model: an adapter, or all weights with tokenizer and configuration."""
        return self.directory / "model"

    def log(self, text: str) -> None:
        """Add to run.log."""
        with (self.directory / "run.log").open("a") as file:
            for line in text.splitlines():
                file.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file, whole or not at all."""
        write_text(self.directory / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def read(self, name: str) -> Any:
        """Read a JSON file. Raises OperatorError if it is missing or damaged."""
        path = self.directory / name
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise damaged(path, str(error)) from error

    def check_recipe(self, recipe: Mapping[str, object], later: Collection[str] = ()) -> None:
        """Raise OperatorError if the run was begun with another recipe; see `changes`."""
        if changes := self.changes(recipe, later):
            raise OperatorError(
                f"the unfinished run {self.name} was begun with other settings ({changes}): "
                f"use the same, or another --name, or delete {self.directory}"
            )

    def changes(self, recipe: Mapping[str, object], later: Collection[str] = ()) -> str:
        """The differences from the recipe that the run was begun with; empty if there are none.

        Settings in `later`, which older recipes lack, are in a recipe only if they differ from the
        default.
        """
        begun = self.read("recipe.json")
        keys = [*recipe, *(key for key in begun if key in later and key not in recipe)]
        differing = [key for key in keys if begun.get(key) != recipe.get(key)]
        return ", ".join(f"{key} was {begun.get(key)!r}" for key in differing)

    def add_start(self, record: Mapping[str, str]) -> None:
        """Record that a process began or continued the run."""
        self.write("starts.json", [*self.starts(), record])

    def starts(self) -> list[dict[str, str]]:
        """How the run was begun and continued; empty for runs from before this was recorded."""
        there = (self.directory / "starts.json").exists()
        return list(self.read("starts.json")) if there else []

    def add_metrics(self, metrics: Mapping[str, float]) -> None:
        """Append the line of one step."""
        with (self.directory / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(metrics) + "\n")

    def metrics(self) -> list[dict[str, float]]:
        """All steps so far, without a line that a crash cut off."""
        path = self.directory / "metrics.jsonl"
        return list(_whole_lines(path)) if path.exists() else []

    def forget_after(self, step: int) -> None:
        """Drop the lines from `step` on, because these steps will be repeated."""
        kept = [line for line in self.metrics() if line["step"] < step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_text(self.directory / "metrics.jsonl", text)


def _whole_lines(path: Path) -> Iterator[dict[str, float]]:
    with path.open(errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.endswith("\n"):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise damaged(path, f"line {number} is not JSON") from error
