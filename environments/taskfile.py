"""Reading task files that others wrote: what is wrong is said with file, line and field."""

from __future__ import annotations

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
    """The error for one bad task; of a validation error only the first complaint is told."""
    if isinstance(problem, ValidationError):
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the task"
        problem = f"{field}: {first['msg'].lower()}"
    return OperatorError(f"{path}:{line}: {problem}")
