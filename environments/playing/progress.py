"""What a rollout has done so far: one line per finished try in an append-only file.

A killed rollout is begun again with the same command and goes on from here. A half-written last
line is dropped; tries that the infrastructure failed are played again.

The first line is the plan: all that a result depends on. Whoever makes one starts from every
setting and leaves out, by name, those that no result depends on (`setting_plan`), so that a
setting that is added later can't be forgotten. Results of another plan are never taken over.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from agentlm import __version__
from agentlm.environments.error_classes import ErrorClass
from agentlm.environments.playing.play import Play
from agentlm.environments.task import Task
from agentlm.errors import OperatorError
from agentlm.files import exclusive
from agentlm.messages import Frozen
from agentlm.settings import Settings
from agentlm.trajectory import Outcome

_OF_NO_RESULT = {
    *("data_dir", "store_url", "name", "fresh", "api_key"),
    *("limit", "tries", "concurrency", "retries", "step_timeout_s"),
}
"""Settings that change where or how many tries are played, but no try itself."""


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
    finished: float = 0.0
    """Unix seconds."""

    @property
    def success(self) -> bool:
        """Whether the task was solved."""
        return self.reward is not None and self.reward >= 1

    @classmethod
    def of(cls, run: Play, trajectory_id: str | None) -> Self:
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
            trajectory_id=trajectory_id,
            error=run.broken and f"{type(run.broken).__name__}: {run.broken}"[:500],
            finished=round(time.time(), 3),
        )


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


class Progress:
    """The file of one rollout, for one process at a time, until it is closed."""

    def __init__(self, path: Path, plan: dict[str, Any], *, fresh: bool = False) -> None:
        """Open or begin it; `fresh` forgets what is there.

        Raises OperatorError if it is of another plan, in use, or can't be used.
        """
        self.path = path
        self.results: dict[tuple[str, int], Result] = {}
        try:
            with ExitStack() as held:
                held.enter_context(exclusive(path.with_suffix(".lock"), wait=False))
                kept = list(self._read(plan)) if path.exists() and not fresh else []
                self._rewrite(plan, kept)
                self._file = held.enter_context(path.open("a", encoding="utf-8"))
                self._held = held.pop_all()
        except BlockingIOError as error:
            raise OperatorError(f"{path} is being written by another process") from error
        except OSError as error:
            raise OperatorError(f"{path} can't be used: {error.strerror or error}") from error
        self.add_all(kept)

    def kept(self) -> str | None:
        """What an earlier run has left, in words."""
        if not self.results:
            return None
        last = max(result.finished for result in self.results.values())
        day = datetime.fromtimestamp(last).strftime("%Y-%m-%d %H:%M")
        tries = "1 try" if len(self.results) == 1 else f"{len(self.results)} tries"
        return f"{tries} kept from {day} (--fresh plays anew): {self.path}"

    def add(self, result: Result) -> None:
        """Keep one result: once this returns, killing the process does not lose it."""
        self._file.write(result.model_dump_json() + "\n")
        self._file.flush()
        self.add_all([result])

    def add_all(self, results: Iterable[Result]) -> None:
        """Add results that are in the file already."""
        self.results |= {(result.task_id, result.attempt): result for result in results}

    def of(self, tasks: Iterable[Task], tries: int) -> list[Result]:
        """The results of these tries, in a stable order."""
        wanted = {task.id for task in tasks}
        return [
            result
            for (task_id, attempt), result in sorted(self.results.items())
            if task_id in wanted and attempt < tries
        ]

    def has(self, task_id: str, attempt: int) -> bool:
        """Whether a try needs no more playing."""
        result = self.results.get((task_id, attempt))
        return result is not None and result.outcome is not Outcome.ERROR

    def close(self) -> None:
        """Let another process have the file."""
        self._held.close()

    def _read(self, plan: dict[str, Any]) -> Iterator[Result]:
        begun, *lines = self.path.read_text(encoding="utf-8").splitlines() or [""]
        try:
            theirs = json.loads(begun)
        except ValueError:
            theirs = None
        if not isinstance(theirs, dict):
            raise OperatorError(f"{self.path}:1: this is not the progress of a rollout")
        differing = [key for key in {**plan, **theirs} if theirs.get(key) != plan.get(key)]
        if differing:
            changes = ", ".join(
                f"{key} was {theirs.get(key)!r} and is {plan.get(key)!r}" for key in differing
            )
            raise OperatorError(
                f"{self.path} is of another rollout: {changes}; choose another --name, or --fresh "
                "to forget what it holds"
            )
        for number, line in enumerate(lines, 2):
            try:
                result = Result.model_validate_json(line)
            except ValidationError as error:
                if number == len(lines) + 1:
                    return  # the line that was being written when we were killed
                raise OperatorError(f"{self.path}:{number}: this is not a result") from error
            if result.outcome is not Outcome.ERROR:
                yield result

    def _rewrite(self, plan: dict[str, Any], results: Iterable[Result]) -> None:
        """Write the file again without the dropped lines."""
        fresh = self.path.with_suffix(".unfinished")
        lines = [json.dumps(plan), *(result.model_dump_json() for result in results)]
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
        fresh.replace(self.path)
