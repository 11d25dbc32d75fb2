"""What a rollout has done so far: one line per finished try in an append-only file.

A killed rollout is begun again with the same command and goes on from here. A half-written last
line is dropped; tries that failed for want of infrastructure are played again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from agentlm.environments.error_classes import ErrorClass
from agentlm.environments.playing.play import Play
from agentlm.errors import OperatorError
from agentlm.messages import Frozen
from agentlm.trajectory import Outcome


class Result(Frozen):
    """One try, judged."""

    task_id: str
    attempt: int
    environment: str
    family: str
    template: str
    outcome: Outcome
    reward: float | None
    """None: the infrastructure failed, which says nothing about the player."""
    error_classes: tuple[ErrorClass, ...] = ()
    turns: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    trajectory_id: str | None = None
    error: str | None = None
    """What broke, if something did."""

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
            outcome=run.outcome,
            reward=run.reward,
            error_classes=run.error_classes,
            turns=len(run.exchanges),
            prompt_tokens=run.prompt_tokens,
            completion_tokens=run.completion_tokens,
            seconds=round(run.seconds, 3),
            trajectory_id=trajectory_id,
            error=run.broken and f"{type(run.broken).__name__}: {run.broken}"[:500],
        )


class Progress:
    """The file of one rollout. A context manager."""

    def __init__(self, path: Path, plan: dict[str, Any]) -> None:
        """Open or begin it. Raises OperatorError if it is of another plan, or can't be used."""
        self.path = path
        self.results: dict[tuple[str, int], Result] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = list(self._read(plan)) if path.exists() else []
            self._rewrite(plan, kept)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise OperatorError(f"{path} can't be used: {error.strerror or error}") from error
        self.add_all(kept)

    def add(self, result: Result) -> None:
        """Keep one result: once this returns, killing the process does not lose it."""
        self._file.write(result.model_dump_json() + "\n")
        self._file.flush()
        self.add_all([result])

    def add_all(self, results: Iterable[Result]) -> None:
        """Know of results that are in the file."""
        self.results |= {(result.task_id, result.attempt): result for result in results}

    def has(self, task_id: str, attempt: int) -> bool:
        """Whether a try needs no more playing."""
        result = self.results.get((task_id, attempt))
        return result is not None and result.outcome is not Outcome.ERROR

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    def _read(self, plan: dict[str, Any]) -> Iterator[Result]:
        begun, *lines = self.path.read_text(encoding="utf-8").splitlines() or [""]
        try:
            theirs = json.loads(begun)
        except ValueError as error:
            raise OperatorError(f"{self.path}:1: this is no rollout's progress") from error
        differing = sorted(key for key in plan if theirs.get(key) != plan[key])
        if differing:
            told = ", ".join(f"{key} was {theirs.get(key)!r}" for key in differing)
            raise OperatorError(
                f"{self.path} is of another rollout ({told}); choose another --name"
            )
        for number, line in enumerate(lines, 2):
            try:
                result = Result.model_validate_json(line)
            except ValidationError as error:
                if number == len(lines) + 1:
                    return  # the line that was being written when we were killed
                raise OperatorError(f"{self.path}:{number}: this is no result") from error
            if result.outcome is not Outcome.ERROR:
                yield result

    def _rewrite(self, plan: dict[str, Any], results: Iterable[Result]) -> None:
        """The same content without what was dropped."""
        fresh = self.path.with_suffix(".unfinished")
        lines = [json.dumps(plan), *(result.model_dump_json() for result in results)]
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
        fresh.replace(self.path)
