"""AgentBench's DBBench task files, as they are: one JSON object a line.

Every column is TEXT there whatever type the file names, as in AgentBench's own set-up.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from agentlm.environments.db.database import Database
from agentlm.environments.task import Action, Move, Split, Task
from agentlm.environments.taskfile import malformed, read_json, read_text
from agentlm.files import json_lines

_CHANGES = {"INSERT", "UPDATE", "DELETE"}
_DIGEST = re.compile(r"[0-9a-f]{32}")


class _Column(BaseModel):
    name: str


class _TableInfo(BaseModel):
    columns: list[_Column] = Field(min_length=1)
    rows: list[list[Any]]


class _Table(BaseModel):
    table_name: str
    table_info: _TableInfo


class _Row(BaseModel):
    description: str
    add_description: str = ""
    label: list[Any]
    table: _Table
    type: list[str] = Field(min_length=1)
    sql: dict[str, Any] | None = None
    answer_md5: str | None = None


def load(path: Path, split: Split) -> list[Task]:
    """Tasks in file order. Raises OperatorError naming file, line and field."""
    lines = json_lines(read_text(path))
    return [
        _task(_read(path, number, line), split, f"{path.stem}:{number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _read(path: Path, number: int, line: str) -> _Row:
    value = read_json(path, number, line)
    try:
        row = _Row.model_validate(value)
    except ValidationError as error:
        raise malformed(path, number, error) from error
    known = row.answer_md5 == "" or _DIGEST.search(row.answer_md5 or "")
    if row.type[0] in _CHANGES and not known:
        raise malformed(path, number, f"answer_md5: a digest is needed for {row.type[0]}")
    widths = {len(cells) for cells in row.table.table_info.rows}
    if widths - {len(row.table.table_info.columns)}:
        raise malformed(path, number, "table.table_info.rows: a cell for each column is needed")
    try:
        with closing(Database()) as database:
            database.create(**_table(row))
    except (sqlite3.Error, ValueError) as error:
        raise malformed(path, number, f"table: {error}") from error
    return row


def _table(row: _Row) -> dict[str, Any]:
    return {
        "table": row.table.table_name,
        "columns": [[column.name, "TEXT"] for column in row.table.table_info.columns],
        "rows": [[None if v is None else str(v) for v in r] for r in row.table.table_info.rows],
    }


def _task(row: _Row, split: Split, place: str) -> Task:
    kind = row.type[0]
    parameters = _table(row)
    if kind in _CHANGES:
        match = _DIGEST.search(row.answer_md5 or "")
        parameters |= {
            "answer_md5": match[0] if match else "",
            "hash_table": row.table.table_name,
        }
        parameters |= {"solution": _solution(row)}
    else:
        parameters["label"] = [str(value) for value in row.label]
    return Task(
        environment="db",
        template=f"dbbench/{place}",
        family=kind,
        split=split,
        instruction=f"{row.description}\n{row.add_description}".strip(),
        parameters=parameters,
        gold=_gold(row, kind),
    )


def _solution(row: _Row) -> str:
    """The statement that makes the change; where the file has no digest, it decides."""
    return str(row.label[0] if row.label else (row.sql or {}).get("query", ""))


def _gold(row: _Row, kind: str) -> tuple[Move, ...]:
    """The file's own statement. The answer to a question is the file's label, whatever it gives."""
    if kind in _CHANGES:
        query, answer = _solution(row), '["done"]'
    else:
        query = str((row.sql or {}).get("query", ""))
        answer = json.dumps([str(value) for value in row.label], ensure_ascii=False)
    ran = Move(
        thought=f"The table {row.table.table_name} is what this is about, so I run SQL on it.",
        action=Action(name="sql", arguments={"query": query}),
    )
    return (ran, Move(thought="The statement did what was asked.", answer=answer))
