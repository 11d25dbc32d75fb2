"""An experiment's directory: which steps are done, and a check that nothing else is in it.

plan.json        what the experiment starts from: the base's weights, the version of AgentLM
steps/NAME.json  a step's mark: its command, when it began and ended, the digests of what it made
logs/            what servers said

A step that was begun but has not ended has a mark, too. The commands work in a data directory: this
one, in which nothing else may be, or the user's own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from agentlm.commands.reproduction.plan import Plan, PlanStep
from agentlm.errors import OperatorError
from agentlm.files import write_text
from agentlm.messages import Frozen

_OTHERS = ("agentlm.db", "runs", "evaluations", "rollouts")
"""Contents of a data directory that somebody has worked with."""
_LEFT_S = 90.0
"""How long the children of a killed run (a command, a server) may take to end."""


class Beginning(Frozen):
    """What the experiment of a directory starts from."""

    base: str | None
    weights: str | None
    """Version of the base model's weights."""
    agentlm: str
    """Version of AgentLM."""
    commit: str | None = None
    """Set if the program runs from its repository."""
    machine: str = ""
    """The machine where it was begun."""


class Mark(Frozen):
    """A step that was begun."""

    run: str
    digest: str
    begun: float
    """Unix seconds of the first start."""
    ended: float | None = None
    seconds: float = 0.0
    """How long it took, all starts together."""
    makes: dict[str, str] = {}
    """File → digest of its content."""


class Experiment:
    """The directory of one experiment."""

    def __init__(self, directory: Path, data_dir: Path | None = None) -> None:
        """`data_dir`: the user's, if the commands work in that."""
        self.directory = directory
        self.data_dir = data_dir or directory
        self._way_out = "give another --name" if data_dir else "give another --data-dir"

    @contextmanager
    def held(self) -> Iterator[int]:
        """Lock the directory; yields a descriptor that child processes keep open.

        The lock is free once this process and all that it started have ended. Raises OperatorError
        if another process works in the directory.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / ".lock").open("a+") as file:
            self._take(file.fileno())
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield file.fileno()

    def _take(self, descriptor: int) -> None:
        until = time.monotonic() + _LEFT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                owner = (self.directory / ".lock").read_text()
                if _lives(owner) or time.monotonic() > until:
                    raise OperatorError(
                        f"another process works on the experiment in {self.directory} "
                        f"(process {owner}): wait for it"
                    ) from None
                time.sleep(0.2)  # the children of a killed run are about to end

    def claim(self, origin: Beginning) -> None:
        """Begin the experiment, or verify that this directory holds the same one.

        Raises OperatorError if the directory holds something else.
        """
        file = self.directory / "plan.json"
        if not file.exists():
            there = [name for name in _OTHERS if (self.directory / name).exists()]
            if there and self.data_dir == self.directory:
                raise OperatorError(
                    f"{self.directory} is not an experiment's: it has {', '.join(there)} of "
                    "something else; give another --data-dir, so that rows of others stay out"
                )
            write_text(file, origin.model_dump_json(indent=1) + "\n")
        begun = read_beginning(self.directory)
        if (begun.base, begun.weights) != (origin.base, origin.weights):
            raise OperatorError(
                f"the experiment in {self.directory} was begun with {begun.base} of weights "
                f"{begun.weights}, and {origin.base} has {origin.weights} now: {self._way_out}"
            )

    def check(self, plan: Plan) -> None:
        """Verify that what is done was done by this plan.

        Raises OperatorError if the plan of a finished step has changed, or if what the step made
        has.
        """
        known = {step.name: step for step in plan.steps}
        done = {name: mark for name, mark in self.marks().items() if mark.ended is not None}
        for name, mark in done.items():
            if name not in known:
                raise self._refusal(f"the step {name}, which is done, is not in the plan any more")
            if known[name].digest != mark.digest:
                now = known[name].run
                what = f"is now {now!r}" if now != mark.run else "has another recipe or server now"
                raise self._refusal(f"the step {name} was done as {mark.run!r} and {what}")
            self._check_products(name, mark)
        missing = None
        for step in plan.steps:
            if step.name not in done and not step.needs:
                missing = missing or step.name
            elif step.name in done and missing is not None:
                raise self._refusal(
                    f"the step {step.name} is done and {missing}, which the plan has before it, is "
                    "not: the plan was changed in the middle"
                )

    def _check_products(self, name: str, mark: Mark) -> None:
        for file, digest in mark.makes.items():
            path = self.data_dir / file
            if not path.is_file():
                raise self._refusal(f"{file}, which the step {name} made, is gone")
            if _digest(path) != digest:
                raise self._refusal(f"{file} is not as the step {name} left it")

    def _refusal(self, what: str) -> OperatorError:
        return OperatorError(
            f"{what}; {self._way_out}, or put it back as it was ({self.directory})"
        )

    def marks(self) -> dict[str, Mark]:
        """Marks of all steps that were begun, by name."""
        files = sorted((self.directory / "steps").glob("*.json"))
        return {file.stem: _read(file, Mark) for file in files}

    def mark(self, step: PlanStep) -> Mark | None:
        """The mark of a step, if the step is still the same as when it was begun."""
        file = self._file(step)
        mark = _read(file, Mark) if file.exists() else None
        return mark if mark is not None and mark.digest == step.digest else None

    def is_done(self, step: PlanStep) -> bool:
        mark = self.mark(step)
        return mark is not None and mark.ended is not None

    def begin(self, step: PlanStep, now: float) -> Mark:
        """Record that it was begun. Once this returns, killing the process does not lose it."""
        mark = self.mark(step) or Mark(run=step.run, digest=step.digest, begun=now)
        self._write(step, mark)
        return mark

    def pause(self, step: PlanStep, seconds: float) -> Mark:
        """Record how long it has worked so far without ending well."""
        before = self.mark(step)
        assert before is not None
        mark = before.model_copy(update={"seconds": before.seconds + seconds})
        self._write(step, mark)
        return mark

    def end(self, step: PlanStep, seconds: float, now: float, *, refused: bool = False) -> None:
        """Record that it is done. Raises OperatorError if its outputs don't exist, unless its
        command said no."""
        mark = self.pause(step, seconds)
        makes: dict[str, str] = {}
        for file in step.makes:
            if (self.data_dir / file).is_file():
                makes[file] = _digest(self.data_dir / file)
            elif not refused:
                raise OperatorError(f"the step {step.name} ended well, but has not made {file}")
        self._write(step, mark.model_copy(update={"ended": now, "makes": makes}))

    def _write(self, step: PlanStep, mark: Mark) -> None:
        write_text(self._file(step), mark.model_dump_json(indent=1) + "\n")

    def _file(self, step: PlanStep) -> Path:
        return self.directory / "steps" / f"{step.name}.json"


def read_beginning(directory: Path) -> Beginning:
    """What the directory's experiment starts from. Raises OperatorError if it can't be read."""
    return _read(directory / "plan.json", Beginning)


F = TypeVar("F", bound=Frozen)


def _read(file: Path, kind: type[F]) -> F:
    try:
        return kind.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise OperatorError(f"{file} can't be read: {reason}") from error


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
