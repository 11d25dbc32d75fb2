"""AgentBench's `os_interaction` task files, as they are: tasks in a JSON array or one a line, or a
single one.

The comparators that the files name are built in (`compare.py`). Other scripts are read from the
folder that AgentBench keeps for a file: `scripts/N` for `data/N/*.json`, else `scripts/NAME` or
`scripts` beside the file or above it. A task whose scripts are in neither is left out.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, ValidationError, field_validator, model_validator

from agentlm.environments.os.compare import Comparison
from agentlm.environments.os.scorers import Judgement
from agentlm.environments.os.world import Language, Script
from agentlm.environments.task import OBSERVED, Action, Move, Split, Task
from agentlm.environments.taskfile import malformed, read_json, read_text
from agentlm.files import json_lines

_log = logging.getLogger(__name__)

_COMPARATORS: dict[str, Comparison] = {
    "integer-match": "integer",
    "string-match": "string",
    "size-match": "size",
    "containing": "containing",
    "in": "in",
}
_BETWEEN = " \t\r\n,"
_HOME = "/root"
# What tasks about "the system" find on the machines of AgentBench: a home with its start-up files,
# and logs.
_MACHINE = Script(
    code=r"""
cd && printf '# ~/.bashrc\n[ -z "$PS1" ] && return\n' > .bashrc && printf 'mesg n\n' > .profile
mkdir -p /var/log/apt /var/mail /var/tmp && cd /var/log
day=$(date -d '-3 days' +%F)
for name in base-files libc6 python3 git vim curl wget unzip zip tree; do
  echo "$day 09:14:02 install $name:amd64 <none> 1.0"
  echo "$day 09:14:03 status installed $name:amd64 1.0"
done > dpkg.log
echo "update-alternatives $day 09:14:09: run with --install /usr/bin/vi vi /usr/bin/vim 30" \
  > alternatives.log
printf 'Start-Date: %s\nError: Timeout was reached\nEnd-Date: %s\n' "$day" "$day" > apt/history.log
printf 'Log started: %s\nerror: could not fetch an index, trying again\n' "$day" > apt/term.log
printf 'gpgv: Good signature\nI: Unpacking base\nW: an error was ignored\n' > bootstrap.log
touch btmp wtmp lastlog faillog
touch -d '-3 days' ./*.log apt/*.log
"""
)


class _File(BaseModel):
    """A script: text, or an object with a file or its code."""

    language: str = "bash"
    code: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        if self.code is None and self.file is None:
            raise ValueError("a script needs code or a file")
        if "\0" in f"{self.code}{self.file}":
            raise ValueError("a script can't hold the character NUL")
        return self


def _object(value: object) -> object:
    return {"code": value} if isinstance(value, str) else value


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


_Code = Annotated[_File, BeforeValidator(_object)]
_Codes = Annotated[list[_Code | None], BeforeValidator(_listed)]


class _Create(BaseModel):
    init: _Codes = []


class _Match(BaseModel):
    answer: str | None = None
    regex: str | None = None
    strip: bool = False

    @field_validator("regex")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, RecursionError) as error:
            raise ValueError(f"no regular expression: {error}") from error
        return pattern


class _Evaluation(BaseModel):
    match: str | _Match | None = None
    check: _Codes = []
    example: _Code | None = None

    @model_validator(mode="after")
    def _decides(self) -> Self:
        if isinstance(self.match, _Match) and self.match.regex is None and not self.match.answer:
            raise ValueError("match needs an answer or a regex")
        if self.match is None and not self.check:
            raise ValueError("a match or a check is needed")
        if self.match is None and None in self.check and not self.example:
            raise ValueError("an example is needed: the check compares with its output")
        return self


class _Row(BaseModel):
    description: str
    create: _Create | list[Any] | None = None
    start: _Code | None = None
    evaluation: _Evaluation
    example: _Code | None = None


class UnplayableError(Exception):
    """A script that the task needs is not at hand, or in a language that is not run."""


class _Scripts:
    """The folder of scripts that belongs to a task file."""

    def __init__(self, path: Path) -> None:
        folder = path.absolute().parent
        above = [folder, *list(folder.parents)[:2]]
        names = (folder.name, path.stem, "")
        self._folders = [place / "scripts" / name for name in names for place in above]

    def read(self, script: _File) -> Script:
        """The script's text. Raises UnplayableError."""
        if script.language not in get_args(Language):
            raise UnplayableError(f"its scripts are in {script.language}, which is not run here")
        if script.file is None:
            return _script(script.code or "", script.language)
        for folder in self._folders:
            with suppress(OSError):  # a name that is too long for one
                path = (folder / script.file).resolve()
                if path.is_relative_to(folder) and path.is_file():
                    return _script(read_text(path), script.language)
        raise UnplayableError(f"its script {script.file} is not at hand")


def _script(code: str, language: str) -> Script:
    return Script.model_validate({"code": code, "language": language})


def load(path: Path, split: Split) -> list[Task]:
    """Tasks in file order. Raises OperatorError naming file, line and field."""
    text = read_text(path)
    scripts = _Scripts(path)
    tasks = []
    for number, (line, fields) in enumerate(_rows(path, text)):
        place = f"{path.stem}:{number}"
        try:
            tasks.append(_task(_Row.model_validate(fields), scripts, split, place))
        except ValidationError as error:
            raise malformed(path, line, error) from error
        except UnplayableError as error:
            _log.warning("%s[%d] is left out: %s", path, number, error)
    return tasks


def _rows(path: Path, text: str) -> list[tuple[int, Any]]:
    """Each task and the line it begins at."""
    if path.suffix == ".jsonl":
        return [
            (number, read_json(path, number, line))
            for number, line in enumerate(json_lines(text), 1)
            if line.strip()
        ]
    rows = read_json(path, 1, text)
    if isinstance(rows, dict):
        return [(1, rows)]
    if not isinstance(rows, list):
        raise malformed(path, 1, "a task or an array of tasks is expected")
    return list(zip(_lines(text), rows, strict=False))


def _lines(text: str) -> Iterator[int]:
    """Where each task of an array begins."""
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    while True:
        while text[at] in _BETWEEN:
            at += 1
        yield text.count("\n", 0, at) + 1
        at = decoder.raw_decode(text, at)[1]


def _task(row: _Row, scripts: _Scripts, split: Split, place: str) -> Task:
    create = row.create if isinstance(row.create, _Create) else _Create()
    init = [_MACHINE, *(scripts.read(script) for script in create.init if script)]
    judgement = _judgement(row.evaluation, scripts)
    parameters: dict[str, Any] = {
        "home": _HOME,
        "init": [script.model_dump() for script in init],
        "judgement": judgement,
    }
    if row.start:
        parameters["start"] = scripts.read(row.start).code
    return Task(
        environment="os",
        template=f"os_interaction/{place}",
        family=_family(judgement),
        split=split,
        instruction=row.description,
        parameters=parameters,
        gold=_gold(row, scripts, judgement),
    )


def _judgement(evaluation: _Evaluation, scripts: _Scripts) -> dict[str, Any]:
    if isinstance(evaluation.match, str):
        return {"answer": evaluation.match, "strip": True}
    if evaluation.match is not None:
        return evaluation.match.model_dump(exclude_none=True)
    checks = [_check(check, evaluation.example, scripts) for check in evaluation.check]
    if checks[0].compare:
        raise UnplayableError("its first check compares with nothing")
    return {"checks": [check.model_dump(exclude_defaults=True) for check in checks]}


def _check(check: _File | None, example: _File | None, scripts: _Scripts) -> Judgement:
    if check is None:
        assert example is not None  # the row was validated
        reference = scripts.read(example)
        return Judgement(**reference.model_dump(), is_reference=True)
    if check.file and (built_in := _COMPARATORS.get(Path(check.file).stem)):
        return Judgement(compare=built_in)
    return Judgement(**scripts.read(check).model_dump())


def _family(judgement: dict[str, Any]) -> str:
    if "checks" not in judgement:
        return "regex" if "regex" in judgement else "string"
    return str(judgement["checks"][-1].get("compare", "check"))


def _gold(row: _Row, scripts: _Scripts, judgement: dict[str, Any]) -> tuple[Move, ...]:
    """The file's own solution, if it has one."""
    moves = []
    if example := row.evaluation.example or row.example:
        command = _command(scripts.read(example))
        action = Action(name="bash", arguments={"command": command})
        moves.append(Move(thought="This command does what is asked.", action=action))
    answer = judgement.get("answer") or (OBSERVED if moves else judgement.get("regex", "done"))
    return (*moves, Move(thought="This is the answer.", answer=answer))


def _command(script: Script) -> str:
    if script.language == "python":
        return f"python3 -c {quote(script.code)}"
    return script.code
