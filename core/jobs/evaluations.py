"""Evaluations: what `agentlm eval` leaves in files, as the server and the gate read it.

    DATA_DIR/evaluations/NAME/report.json        the numbers
                              report.runs.jsonl  every try, a line each, with its place in the log
                              report.html, .png  the same for people

Each file is replaced as a whole, so whoever reads it while an evaluation goes on sees the numbers
of before or those of now. Of the report only what is named here is promised to others.
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
"""Ending of the file of tries, beside those of the report."""
INSTRUCTION_CHARS = 500
"""What is kept of a task's text: enough to know it again."""


class _Promised(BaseModel):
    """A part of report.json; what else stands there is its writer's."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Floor(_Promised):
    """What players without skill score on the same tasks."""

    constant: float
    """Success of the best answer that never changes."""
    random: float
    """Success of random calls."""


class Floors(_Promised):
    """Of one environment."""

    all: Floor


class Played(_Promised):
    """Which model it was, on which server."""

    name: str
    url: str
    weights_version: str | None = None


class Row(_Promised):
    """One model on one set of tasks, decoded one way."""

    environment: str
    model: str
    decoding: str
    played: Played
    asked: int
    """Tries that were asked for."""
    judged: int
    """Tries that have a result."""
    failed: int
    """Tries that the infrastructure failed; they count in no rate."""
    success: float
    """Share of solved tries."""
    interval: Interval
    """Wilson's 95% interval over tasks."""
    reward: float
    error_classes: dict[str, float]
    """Share of the tries that show each class."""
    families: dict[str, tuple[int, int]] = {}
    """Kind of problem → tries that solved theirs, tries that have a result."""
    floors: Floors
    turns: float
    completion_tokens: float
    seconds: float
    """Means per try."""


class Difference(_Promised):
    """Candidate minus base on the same tasks."""

    environment: str
    decoding: str
    base: str
    candidate: str
    tasks: int
    """Tasks that both have a result for."""
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
    """Why it was not measured."""


class EvaluationReport(_Promised):
    """The numbers of one evaluation."""

    settings: dict[str, Any] = {}
    rows: tuple[Row, ...] = ()
    differences: tuple[Difference, ...]
    abilities: tuple[Ability, ...] = ()


class EvaluatedRun(Frozen):
    """One try at one task."""

    id: str
    """Of its model, way of decoding, task and attempt."""
    environment: str
    model: str
    decoding: str
    task_id: str
    attempt: int
    family: str
    """Kind of problem."""
    instruction: str
    """How the task begins."""
    group: str | None
    """The one heading that a failed run stands under; None: it solved its task."""
    outcome: str
    reward: float | None
    error_classes: tuple[str, ...] = ()
    turns: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    trajectory_id: str | None = None
    """In the log of the server that it was played against."""
    error: str | None = None
    """What broke, if something did."""


class Evaluation(Frozen):
    """One evaluation of a data directory."""

    id: str
    """Its directory's name."""
    created_at: int
    """Unix seconds when its report was written."""
    report: EvaluationReport | None
    error: str | None = None
    """Why the report can't be read."""


class Evaluations:
    """The evaluations of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "evaluations"

    def list(self) -> list[Evaluation]:
        """All of them, newest first."""
        read = map(_evaluation, self._root.glob("*/report.json"))
        found = [one for one in read if one is not None]
        return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)

    def get(self, name: str) -> Evaluation:
        """One of them. Raises NotFoundError."""
        if (found := _evaluation(self._directory(name) / "report.json")) is None:
            raise _missing(name)
        return found

    def runs(self, name: str) -> Iterator[EvaluatedRun]:
        """Its tries; none of one that was written before they were kept. Raises NotFoundError."""
        path = self._directory(name) / f"report.{RUNS}"
        if path.is_file():
            with path.open(encoding="utf-8") as lines:
                yield from map(EvaluatedRun.model_validate_json, lines)

    def _directory(self, name: str) -> Path:
        # Looked for among what is there: no name leads anywhere else.
        for path in self._root.glob("*/report.json"):
            if path.parent.name == name:
                return path.parent
        raise _missing(name)


def read_report(path: Path) -> EvaluationReport:
    """A report.json. Raises OperatorError if it is none."""
    try:
        return EvaluationReport.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise OperatorError(f"{path} is no report of agentlm eval: {reason}") from error


def _evaluation(path: Path) -> Evaluation | None:
    """None: the report has just been set aside."""
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
