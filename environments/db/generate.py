"""Tasks from templates: fill the slots, let the expert's statements run, keep what came of them.

What has no answer, more than one right answer, or changes nothing is thrown away and drawn again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from itertools import count
from random import Random
from typing import Any

from agentlm.environments.db import chinook
from agentlm.environments.db.bindings import Table, bind, make_table
from agentlm.environments.db.database import Database
from agentlm.environments.db.templates import (
    Skill,
    Template,
    Value,
    in_sql,
    in_words,
    plain,
    table_kinds,
    templates,
)
from agentlm.environments.names import pool
from agentlm.environments.splits import in_split, task_random
from agentlm.environments.task import Action, Move, Split, Task

_ATTEMPTS = 20
_MAX_VALUES = 12

_TABLE_WORDS: dict[Split, tuple[str, ...]] = {
    "train": (
        "The table is `{table}` with the columns {columns}.",
        "Table: {table}. Columns: {columns}.",
    ),
    "dev": ("{columns} are what {table} keeps.",),
    "test": ("({table} – {columns})",),
}
_COLUMN_JOINTS: dict[Split, str] = {"train": ", ", "dev": " / ", "test": " | "}
_CHINOOK_WORDS: dict[Split, str] = {
    "train": "The database is Chinook, a music shop; the task needs {tables}.",
    "dev": "(Chinook: {tables})",
    "test": "Consult {tables} of Chinook.",
}


class _Unsuitable(Exception):
    """This draw makes no good task."""


def tasks(split: Split, seed: int = 0) -> Iterator[Task]:
    """An endless stream of distinct tasks; every skill comes once before any comes again."""
    by_skill = templates(split)
    names = sorted(by_skill)
    Random(f"db/{split}/{seed}").shuffle(names)
    seen: set[str] = set()
    for index in count():
        phrasings = by_skill[names[index % len(names)]]
        task = _draw(phrasings, split, task_random("db", split, seed, index), seen)
        if task is not None:
            seen.add(task.id)
            yield task


def _draw(phrasings: list[Template], split: Split, rng: Random, seen: set[str]) -> Task | None:
    """A task not seen before; None if the skill has no more (Chinook is finite)."""
    for _ in range(_ATTEMPTS):
        template = rng.choice(phrasings)
        make = _chinook_task if template.skill.tables else _table_task
        try:
            task = make(template, split, rng)
        except _Unsuitable:
            continue
        if task.id not in seen:
            return task
    return None


def _table_task(template: Template, split: Split, rng: Random) -> Task:
    table = make_table(rng.choice(table_kinds(split)), split, rng)
    slots = bind(table, split, rng)
    names = _COLUMN_JOINTS[split].join(name for name, _ in table.columns)
    described = rng.choice(_TABLE_WORDS[split]).format(table=table.kind.table, columns=names)
    parameters: dict[str, Any] = {
        "table": table.kind.table,
        "columns": [list(column) for column in table.columns],
        "rows": table.rows,
    }
    with closing(_database_of(table)) as database:
        return _play_expert(template, split, slots, database, described, parameters)


def _chinook_task(template: Template, split: Split, rng: Random) -> Task:
    slots: dict[str, Value] = {
        name: rng.choice(pool(kind, split)) for name, kind in template.skill.fresh.items()
    }
    for name, query in template.skill.bind.items():
        candidates = in_split(_chinook_values(query), split)
        if not candidates:
            raise _Unsuitable
        slots[name] = rng.choice(candidates)
    tables = template.skill.tables
    described = _CHINOOK_WORDS[split].format(tables=", ".join(tables))
    with closing(Database(chinook.image())) as database:
        parameters = {"database": "chinook"}
        return _play_expert(template, split, slots, database, described, parameters)


def _play_expert(
    template: Template,
    split: Split,
    slots: dict[str, Value],
    database: Database,
    described: str,
    parameters: dict[str, Any],
) -> Task:
    """Run the expert's statements, which gives the right answer or the right contents."""
    skill = template.skill
    try:
        instruction = in_words(template.phrasing, slots)
        if skill.distinct is not None:
            _require_distinct(database.run(in_sql(skill.distinct, slots)).rows)
        before = database.state_hash() if skill.changes else ""
        moves, values = _run_stages(skill, slots, database)
    except KeyError as error:  # a slot that this table can't fill
        raise _Unsuitable from error
    if skill.changes:
        answer, after = ["done"], database.state_hash()
        if after == before:
            raise _Unsuitable
        parameters = parameters | {"answer_md5": after}
    else:
        answer = _label(values)
        parameters = parameters | {"label": answer}
    words = in_words(skill.answer, {**slots, "answer": ", ".join(answer)})
    final = Move(thought=words, answer=json.dumps(answer, ensure_ascii=False))
    return Task(
        environment="db",
        template=template.id,
        family=skill.family,
        split=split,
        instruction=f"{instruction}\n{described}",
        parameters=parameters,
        gold=(*moves, final),
    )


def _run_stages(
    skill: Skill, slots: dict[str, Value], database: Database
) -> tuple[list[Move], list[Any]]:
    """The expert's moves, and all values that the last of them returned."""
    moves = [_look_at(table) for table in skill.tables]
    values: list[Any] = []
    for number, stage in enumerate(skill.steps, 1):
        query = in_sql(stage.sql, slots)
        thought = in_words(stage.think, slots)
        moves.append(Move(thought=thought, action=Action(name="sql", arguments={"query": query})))
        values = [cell for row in database.run(query).rows for cell in row]
        if values and values[0] is not None:
            slots[f"r{number}"] = values[0]
    return moves, values


def _look_at(table: str) -> Move:
    """Chinook's columns are not told: an expert asks for them first."""
    return Move(
        thought=f"The task needs {table}, whose columns I don't know yet.",
        action=Action(name="sql", arguments={"query": f"DESCRIBE {table}"}),
    )


def _label(values: list[Any]) -> list[str]:
    if not values or len(values) > _MAX_VALUES or None in values or values == [0]:
        raise _Unsuitable
    label = [plain(value) for value in values]
    if len(set(label)) < len(label):
        raise _Unsuitable
    return label


def _require_distinct(rows: list[tuple[Any, ...]]) -> None:
    if len(set(rows)) < max(len(rows), 2):
        raise _Unsuitable


def _database_of(table: Table) -> Database:
    database = Database()
    database.create(table.kind.table, table.columns, table.rows)
    return database


@cache
def _chinook_values(query: str) -> list[str]:
    with closing(Database(chinook.image())) as database:
        # A name with braces would be read as a slot.
        return [str(row[0]) for row in database.run(query).rows if "{" not in str(row[0])]
