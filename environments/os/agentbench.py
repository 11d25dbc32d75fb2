"""AgentBench's `os_interaction` task files, as they are: a JSON array of tasks.

The comparators that the files name are built in (`compare.py`). A task whose own scripts stand in
other files, which AgentBench keeps beside it, can't be played from its file alone and is left out.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError, model_validator

from agentlm.environments.os.compare import Comparison
from agentlm.environments.task import OBSERVED, Action, Move, Split, Task
from agentlm.environments.taskfile import malformed, read_text

_log = logging.getLogger(__name__)

_COMPARATORS: dict[str, Comparison] = {
    "integer-match": "integer",
    "string-match": "string",
    "size-match": "size",
    "containing": "containing",
    "in": "in",
}


class _Script(BaseModel):
    code: str | None = None
    file: str | None = None


class _Create(BaseModel):
    init: str | _Script | None = None


class _Match(BaseModel):
    answer: str | None = None
    regex: str | None = None


class _Evaluation(BaseModel):
    match: str | _Match | None = None
    check: _Script | list[_Script | None] | None = None
    example: str | _Script | None = None

    @model_validator(mode="after")
    def _decides(self) -> Self:
        if isinstance(self.match, _Match) and not (self.match.regex or self.match.answer):
            raise ValueError("match needs an answer or a regex")
        if self.match is None and not self.check:
            raise ValueError("a match or a check is needed")
        if isinstance(self.check, list) and None in self.check and not self.example:
            raise ValueError("an example is needed: the check compares with its output")
        return self


class _Row(BaseModel):
    description: str
    create: _Create | list[Any] | None = None
    start: str | _Script | None = None
    evaluation: _Evaluation
    example: str | _Script | None = None


class ElsewhereError(Exception):
    """A script that the task needs is in another file."""


def load(path: Path, split: Split) -> list[Task]:
    """Tasks in file order. Raises OperatorError naming file, line and field."""
    text = read_text(path)
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise malformed(path, 1, error) from error
    if not isinstance(rows, list):
        raise malformed(path, 1, "an array of tasks is expected")
    tasks = []
    for number, fields in enumerate(rows):
        place = f"{path.stem}:{number}"
        try:
            tasks.append(_task(_Row.model_validate(fields), split, place))
        except ValidationError as error:
            raise malformed(path, _line(text, number), error) from error
        except ElsewhereError as error:
            _log.warning("%s[%d] is left out: %s", path, number, error)
    return tasks


def _line(text: str, number: int) -> int:
    """Where the task of that number begins in the file."""
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    for _ in range(number):
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
        at = decoder.raw_decode(text, at)[1]
    at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
    return text.count("\n", 0, at) + 1


def _task(row: _Row, split: Split, place: str) -> Task:
    create = row.create if isinstance(row.create, _Create) else _Create()
    parameters: dict[str, Any] = {"init": _code(create.init), "start": _code(row.start)}
    parameters |= _judged(row.evaluation)
    reference = parameters.get("expect_after") or _code(row.example)
    moves = []
    if reference:
        action = Action(name="bash", arguments={"command": reference})
        moves.append(Move(thought="This command does what is asked.", action=action))
    answer = parameters.get("match", OBSERVED)
    return Task(
        environment="os",
        template=f"os_interaction/{place}",
        family=parameters["compare"],
        split=split,
        instruction=row.description,
        parameters={name: value for name, value in parameters.items() if value},
        gold=(*moves, Move(thought="This is the answer.", answer=answer)),
    )


def _judged(evaluation: _Evaluation) -> dict[str, Any]:
    if isinstance(evaluation.match, str):
        return {"match": evaluation.match, "compare": "string"}
    if isinstance(evaluation.match, _Match):
        if regex := evaluation.match.regex:
            return {"match": regex, "compare": "regex"}
        return {"match": evaluation.match.answer, "compare": "string"}
    checks = evaluation.check if isinstance(evaluation.check, list) else [evaluation.check]
    scripts = [check.file or "" for check in checks if check is not None]
    named = [_COMPARATORS.get(Path(script).stem) for script in scripts]
    if len(named) != 1 or named[0] is None or checks[0] is not None:
        raise ElsewhereError(f"its check is in {', '.join(scripts)}")
    return {"expect_after": _code(evaluation.example), "compare": named[0]}


def _code(script: str | _Script | None) -> str:
    if isinstance(script, _Script):
        if script.code is None:
            raise ElsewhereError(f"a script of it is in {script.file}")
        return script.code
    return script or ""
