"""Evaluations: the files that `agentlm eval` writes, as the server and the gate read them.

    DATA_DIR/evaluations/NAME/report.json        the numbers
                              report.runs.jsonl  every try, a line each, with its place in the log
                              report.html, .png  the same for people

Each file is replaced as a whole, so whoever reads it during an evaluation sees either the old
numbers or the new ones. Other programs may rely on those keys of the report that are named here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from agentlm.errors import NotFoundError, OperatorError
from agentlm.messages import Frozen

Interval = tuple[float, float]
RUNS = "runs.jsonl"
"""End of the name of the file with all tries, beside the report's files."""
INSTRUCTION_CHARS = 500
"""How much of a task's text is kept: enough to recognise it."""


class _Promised(BaseModel):
    """A part of report.json. Its other keys belong to its writer."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Floor(_Promised):
    """What players without skill score on the same tasks."""

    constant: float
    """Success rate of the best answer that never changes."""
    random: float
    """Success rate of random calls."""


class Floors(_Promised):
    """The floors of one environment."""

    all: Floor


class Played(_Promised):
    """Which model it was, and on which server."""

    name: str
    url: str
    weights_version: str | None = None


class Row(_Promised):
    """The results of one model on one set of tasks, decoded one way."""

    environment: str
    model: str
    decoding: str
    played: Played
    asked: int
    """Number of tries that were planned."""
    judged: int
    """Number of tries with a result."""
    failed: int
    """Number of tries that failed for reasons of infrastructure. No rate counts them."""
    success: float
    """Share of solved tries."""
    interval: Interval
    """Wilson's 95% interval over tasks."""
    reward: float
    error_classes: dict[str, float]
    """For each class, the share of the tries that have it."""
    families: dict[str, tuple[int, int]] = {}
    """For each kind of problem: solved tries, tries with a result."""
    floors: Floors
    turns: float
    completion_tokens: float
    seconds: float
    """This and the next fields are means per try."""


class Difference(_Promised):
    """Candidate minus base on the same tasks."""

    environment: str
    decoding: str
    base: str
    candidate: str
    tasks: int
    """Number of tasks for which both have a result."""
    difference: float
    interval: Interval
    """Paired bootstrap, 95%."""


class Ability(_Promised):
    """One measure of one model's general ability."""

    measure: str
    model: str
    value: float | None = None
    interval: Interval | None = None
    cases: int = 0
    skipped: str | None = None
    """The reason why it was not measured."""


class EvaluationReport(_Promised):
    """The numbers of one evaluation."""

    settings: dict[str, Any] = {}
    rows: tuple[Row, ...] = ()
    differences: tuple[Difference, ...]
    abilities: tuple[Ability, ...] = ()


class EvaluatedRun(Frozen):
    """One try at one task."""

    id: str
    """Made of model, way of decoding, task and attempt."""
    environment: str
    model: str
    decoding: str
    task_id: str
    attempt: int
    family: str
    """The kind of problem."""
    instruction: str
    """The beginning of the task."""
    group: str | None
    """The heading under which a failed run is listed; None: it solved its task."""
    outcome: str
    reward: float | None
    error_classes: tuple[str, ...] = ()
    turns: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    trajectory_id: str | None = None
    """Its id in the log of the server that it was played against."""
    error: str | None = None
    """The infrastructure's error, if there was one."""


class Evaluation(Frozen):
    """One evaluation in a data directory."""

    id: str
    """The name of its directory."""
    created_at: int
    """Unix seconds when its report was written."""
    report: EvaluationReport | None
    error: str | None = None
    """The reason why the report can't be read."""


class Evaluations:
    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "evaluations"

    def list(self) -> list[Evaluation]:
        """Newest first."""
        read = map(_evaluation, self._root.glob("*/report.json"))
        evaluations = [one for one in read if one is not None]
        return sorted(evaluations, key=lambda one: (one.created_at, one.id), reverse=True)

    def get(self, name: str) -> Evaluation:
        """Raises NotFoundError."""
        if (evaluation := _evaluation(self._directory(name) / "report.json")) is None:
            raise _missing(name)
        return evaluation

    def runs(self, name: str) -> Iterator[EvaluatedRun]:
        """Its tries; empty if an earlier version wrote it without them. Raises NotFoundError."""
        path = self._directory(name) / f"report.{RUNS}"
        if path.is_file():
            with path.open(encoding="utf-8") as lines:
                yield from map(EvaluatedRun.model_validate_json, lines)

    def _directory(self, name: str) -> Path:
        # The name is compared with existing ones, so that it can't lead anywhere else.
        for path in self._root.glob("*/report.json"):
            if path.parent.name == name:
                return path.parent
        raise _missing(name)


def read_report(path: Path) -> EvaluationReport:
    """Raises OperatorError if the file is not a report."""
    try:
        return EvaluationReport.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise OperatorError(f"{path} is not a report of agentlm eval: {reason}") from error


def _evaluation(path: Path) -> Evaluation | None:
    """None if the report has just been moved away."""
    try:
        written = int(path.stat().st_mtime)
        return Evaluation(id=path.parent.name, created_at=written, report=read_report(path))
    except FileNotFoundError:
        return None
    except OperatorError as error:
        if not path.exists():
            return None
        return Evaluation(id=path.parent.name, created_at=written, report=None, error=str(error))


def _missing(name: str) -> NotFoundError:
    return NotFoundError(f"there is no evaluation {name!r}", param="evaluation_id")
