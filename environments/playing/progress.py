"""What a rollout has done so far: one line per finished try in an append-only file.

A killed rollout is begun again with the same command and goes on from here. A half-written last
line is dropped; tries that the infrastructure failed are played again.

A score that has to be written somewhere else too stands here first, as `pending`, and once more
when it is there: so a kill in between loses no try, and no try is scored twice. The last line of a
try is the one that counts.

The first line is the plan: all that a result depends on. Whoever makes one starts from every
setting and leaves out, by name, those that no result depends on (`setting_plan`), so that a
setting that is added later can't be forgotten. Results of another plan are never taken over.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import ValidationError

from agentlm import __version__
from agentlm.environments.error_classes import ErrorClass
from agentlm.environments.playing.play import Play
from agentlm.environments.playing.players import whole_characters
from agentlm.environments.task import Task
from agentlm.errors import OperatorError
from agentlm.files import exclusive, json_lines, write_text
from agentlm.messages import Frozen
from agentlm.settings import Settings
from agentlm.trajectory import Outcome

_OF_NO_RESULT = {
    *("data_dir", "store_url", "name", "fresh", "api_key"),
    *("limit", "tries", "concurrency", "retries", "step_timeout_s"),
}
"""Settings that change where or how many tries are played, but no try itself."""

Place = Literal["server", "log"]
"""Where a score is written beside this file: by the player's own server, or in our log."""
Key = tuple[str, int]
"""A task's id and which try at it."""


class Kept(NamedTuple):
    """Where a run was recorded, if it was."""

    trajectory_id: str | None = None
    scored_by: Place | None = None
    """Who has to be told its score."""


class Result(Frozen):
    """One try, judged."""

    task_id: str
    attempt: int
    environment: str
    family: str
    template: str
    split: str = ""
    cluster: str = ""
    """What else is drawn with it: tasks over one schema are solved or missed together."""
    outcome: Outcome
    reward: float | None
    """None: the infrastructure failed, which says nothing about the player."""
    earned: tuple[float, ...] = ()
    """Reward after each turn, of a world that tells it on the way."""
    error_classes: tuple[ErrorClass, ...] = ()
    turns: int = 0
    calls: int = 0
    invented: int = 0
    """Calls with a name that stands nowhere in the context."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    trajectory_id: str | None = None
    error: str | None = None
    """What broke, if something did."""
    pending: Place | None = None
    """Where its score has yet to be written."""
    finished: float = 0.0
    """Unix seconds."""

    @property
    def success(self) -> bool:
        """Whether the task was solved."""
        return self.reward is not None and self.reward >= 1

    @property
    def unfinished(self) -> bool:
        """Whether the same command has something left to do for it."""
        return self.outcome is Outcome.ERROR or self.pending is not None

    @property
    def key(self) -> Key:
        """Which try it is."""
        return self.task_id, self.attempt

    @classmethod
    def of(cls, run: Play, kept: Kept) -> Self:
        """The line for a finished run."""
        return cls(
            task_id=run.task.id,
            attempt=run.attempt,
            environment=run.task.environment,
            family=run.task.family,
            template=run.task.template,
            split=run.task.split,
            cluster=cluster_of(run.task),
            outcome=run.outcome,
            reward=run.reward,
            earned=tuple(each.earned for each in run.exchanges if each.earned is not None),
            error_classes=run.error_classes,
            turns=len(run.exchanges),
            calls=sum(exchange.call is not None for exchange in run.exchanges),
            invented=sum(bool(exchange.invented) for exchange in run.exchanges),
            prompt_tokens=run.prompt_tokens,
            completion_tokens=run.completion_tokens,
            seconds=round(run.seconds, 3),
            trajectory_id=kept.trajectory_id,
            error=run.broken and error_text(run.broken),
            pending=kept.scored_by,
            finished=round(time.time(), 3),
        )


def error_text(error: Exception) -> str:
    """What broke, short enough for a line and in characters that a file can hold."""
    return whole_characters(f"{type(error).__name__}: {error}"[:500])


def cluster_of(task: Task) -> str:
    """The schema or scene that a task shares with others, if its parameters name one."""
    named = (task.parameters.get(key) for key in ("schema", "scene", "database", "table"))
    return next((name for name in named if isinstance(name, str)), task.id)


def setting_plan(settings: Settings, *, without: Collection[str] = ()) -> dict[str, Any]:
    """The part of a plan that the settings make: every one but those that change no result.

    A task file stands in it by its content.
    """
    plan = settings.model_dump(mode="json", exclude={*_OF_NO_RESULT, *without})
    for key in ("known", "curriculum"):
        if not plan.get(key):
            plan.pop(key, None)  # plans from before this setting existed lack it
    if (tasks := plan.get("tasks")) is not None:
        plan["tasks"] = hashlib.sha256(Path(tasks).read_bytes()).hexdigest()[:16]
    return {**plan, "agentlm": __version__}


def results_in(path: Path) -> list[Result]:
    """The tries in a rollout's file, each by its last line.

    A line that was being written when the process was killed is none. Raises OperatorError for any
    other that is no result, and without the plan before them, OSError if the file can't be read.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, Any], list[Result]]:
    """A rollout's plan and its tries."""
    begun, *lines = json_lines(path.read_text(encoding="utf-8")) or [""]
    plan = _plan(path, begun)
    results: dict[Key, Result] = {}
    for number, line in enumerate(lines, 2):
        try:
            result = Result.model_validate_json(line)
        except ValidationError as error:
            if number == len(lines) + 1:
                break
            raise OperatorError(f"{path}:{number}: this is not a result") from error
        results[result.key] = result
    return plan, list(results.values())


def _plan(path: Path, begun: str) -> dict[str, Any]:
    """What the first line of a rollout's file says. Raises OperatorError if it is not a plan."""
    try:
        plan = json.loads(begun)
    except ValueError:
        plan = None
    if not isinstance(plan, dict):
        raise OperatorError(f"{path}:1: this is not the progress of a rollout")
    return plan


class Progress:
    """The file of one rollout, for one process at a time, until it is closed."""

    def __init__(self, path: Path, plan: dict[str, Any], *, fresh: bool = False) -> None:
        """Open or begin it; `fresh` forgets what is there.

        Raises OperatorError if it is of another plan, in use, or can't be used.
        """
        self.path = path
        self._done: set[Key] = set()
        self._pending: dict[Key, Result] = {}
        self._last = 0.0
        try:
            with ExitStack() as held:
                held.enter_context(exclusive(path.with_suffix(".lock"), wait=False))
                kept = self._read(plan) if path.exists() and not fresh else []
                self._rewrite(plan, kept)
                self._file = held.enter_context(path.open("a", encoding="utf-8"))
                self._held = held.pop_all()
        except BlockingIOError as error:
            raise OperatorError(f"{path} is being written by another process") from error
        except OSError as error:
            raise OperatorError(f"{path} can't be used: {error.strerror or error}") from error
        for result in kept:
            self._note(result)

    def kept(self) -> str | None:
        """What an earlier run has left, in words."""
        if not self._done:
            return None
        day = datetime.fromtimestamp(self._last).strftime("%Y-%m-%d %H:%M")
        tries = "1 try" if len(self._done) == 1 else f"{len(self._done)} tries"
        return f"{tries} kept from {day} (--fresh plays anew): {self.path}"

    def add(self, result: Result) -> None:
        """Keep one result: once this returns, killing the process does not lose it."""
        self._file.write(result.model_dump_json() + "\n")
        self._file.flush()
        self._note(result)

    def sync(self) -> None:
        """Make what was added survive a power cut. From any thread."""
        os.fsync(self._file.fileno())

    def results(self) -> list[Result]:
        """All that the file holds: a rollout keeps only in mind which tries are done."""
        return results_in(self.path)

    def of(self, tasks: Iterable[Task], tries: int) -> list[Result]:
        """The results of these tries, in a stable order."""
        wanted = {task.id for task in tasks}
        results = [r for r in self.results() if r.task_id in wanted and r.attempt < tries]
        return sorted(results, key=lambda result: result.key)

    def pending(self) -> list[Result]:
        """Those whose score has yet to be written somewhere else."""
        return list(self._pending.values())

    def has(self, task_id: str, attempt: int) -> bool:
        """Whether a try needs no more playing."""
        return (task_id, attempt) in self._done

    def close(self) -> None:
        """Let another process have the file."""
        self._held.close()

    def _note(self, result: Result) -> None:
        self._last = max(self._last, result.finished)
        self._pending.pop(result.key, None)
        if result.outcome is Outcome.ERROR:
            self._done.discard(result.key)
            return
        self._done.add(result.key)
        if result.pending is not None:
            self._pending[result.key] = result

    def _read(self, plan: dict[str, Any]) -> list[Result]:
        """What needs no more playing, of the same plan."""
        theirs, results = _read(self.path)
        differing = [key for key in {**plan, **theirs} if theirs.get(key) != plan.get(key)]
        if differing:
            changes = ", ".join(
                f"{key} was {theirs.get(key)!r} and is {plan.get(key)!r}" for key in differing
            )
            raise OperatorError(
                f"{self.path} is of another rollout: {changes}; choose another --name, or --fresh "
                "to forget what it holds"
            )
        return [result for result in results if result.outcome is not Outcome.ERROR]

    def _rewrite(self, plan: dict[str, Any], results: Iterable[Result]) -> None:
        """Write the file again without the dropped lines."""
        lines = [json.dumps(plan), *(result.model_dump_json() for result in results)]
        write_text(self.path, "\n".join(lines) + "\n")
