"""Reading task files that others wrote: what is wrong is said with file, line and field."""

from __future__ import annotations

from json import JSONDecodeError
from pathlib import Path

from pydantic import ValidationError

from agentlm.errors import OperatorError


def read_text(path: Path) -> str:
    """The whole file. Raises OperatorError if it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"the task file {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OperatorError(f"the task file {path} can't be read: {error}") from error


def malformed(path: Path, line: int, problem: Exception | str) -> OperatorError:
    """The error for one bad task, which begins at `line`; of several complaints the first."""
    if isinstance(problem, JSONDecodeError):
        line += problem.lineno - 1
        problem_text = problem.msg.lower().removesuffix(" starting at")
        problem = f"not JSON: {problem_text} (column {problem.colno})"
    elif isinstance(problem, ValidationError):
        problem = _first_complaint(problem)
    return OperatorError(f"{path}:{line}: {problem}")


def _first_complaint(problem: ValidationError) -> str:
    """Field and complaint, without the names of our classes."""
    first = problem.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "the task"
    says = "an object is expected" if first["type"] == "model_type" else first["msg"].lower()
    return f"{field}: {says.removeprefix('value error, ')}"
