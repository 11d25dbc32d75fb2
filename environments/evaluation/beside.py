"""Compare two evaluations that were measured separately, at other times or by other servers.

`agentlm eval --base` measures both models in one run. If full weights take turns on a machine, or
if a model is compared with last week's, each has its own evaluation. The tries of both are kept, so
they can still be paired by task.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from agentlm.environments.evaluation.report import Difference, Report, Row, difference_of
from agentlm.environments.playing.progress import Result, results_in
from agentlm.errors import OperatorError


def read_report(directory: Path) -> Report:
    """An evaluation's report. Raises OperatorError if there is none."""
    try:
        return Report.model_validate_json((directory / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise OperatorError(f"{directory} holds no evaluation: {reason}") from error


def differences(candidate: Path, base: Path, seed: int = 0) -> Iterator[Difference]:
    """Candidate minus base, for each set and way of decoding that both were measured on.

    Raises OperatorError if the two had different questions.
    """
    after, before = read_report(candidate), read_report(base)
    for key in ("split", "seed", "tasks", "tries", "scoring", "grammar", "known"):
        ours, theirs = after.settings.get(key), before.settings.get(key)
        if ours != theirs:
            raise OperatorError(
                f"{candidate.name} and {base.name} can't be compared: {key} is {ours} and {theirs}"
            )
    rows = {(row.environment, row.decoding): row for row in before.rows}
    for row in after.rows:
        beside = rows.get((row.environment, row.decoding))
        if beside is not None:
            yield difference_of(
                read_tries(base, beside),
                read_tries(candidate, row),
                names=(beside.model, row.model),
                environment=row.environment,
                decoding=row.decoding,
                seed=seed,
            )


def read_tries(directory: Path, row: Row) -> list[Result]:
    """The tries of a row in an evaluation's report. Raises OperatorError if they are missing."""
    file = directory / row.results
    try:
        return results_in(file)
    except (OSError, OperatorError) as error:
        raise OperatorError(f"the tries of {directory.name} can't be read: {error}") from error
