"""Reading task files that others wrote: what is wrong is said with file, line and field."""

from __future__ import annotations

import json
from json import JSONDecodeError
from pathlib import Path
from typing import Any

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


def read_json(path: Path, line: int, text: str) -> Any:
    """A value that begins at `line` of a task file. Raises OperatorError if it is none, or one that
    could not be written down again."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.end]
        raise malformed(path, line, f"not JSON: half of a character ({half!a})") from error
    except RecursionError as error:
        raise malformed(path, line, "not JSON that can be read: nested too deeply") from error
    except ValueError as error:
        raise malformed(path, line, error) from error
    return value


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
    """Field and complaint, without the names of our classes.

    Where a field may have several forms, the form that came furthest is the one that was meant.
    """
    errors = problem.errors()
    of_field = [error for error in errors if error["loc"][:1] == errors[0]["loc"][:1]]
    first = max(of_field, key=lambda error: len(error["loc"]))
    parts = [str(part) for part in first["loc"]]
    field = ".".join(part for part in parts if not part.startswith("_")) or "the task"
    says = "an object is expected" if first["type"] == "model_type" else first["msg"].lower()
    return f"{field}: {says.removeprefix('value error, ')}"
