"""Tasks from templates: fill the slots, run the expert's statements, keep what they gave.

A draw that has no answer, has several right answers or changes nothing is thrown away.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import closing
from functools import cache
from itertools import count
from random import Random
from typing import Any, NamedTuple

from agentlm.environments.db import chinook
from agentlm.environments.db.bindings import bind, draw_tables
from agentlm.environments.db.database import Database, StatementError
from agentlm.environments.db.mistakes import slip
from agentlm.environments.db.parts import Part, Parts
from agentlm.environments.db.schema import Drawing, Table, UsedNames
from agentlm.environments.db.scoring import answers_match
from agentlm.environments.db.statement import Statement
from agentlm.environments.db.templates import (
    Skill,
    Stage,
    Template,
    Value,
    in_sql,
    in_words,
    links,
    plain,
    templates,
)
from agentlm.environments.names import pool
from agentlm.environments.phrases import drawn
from agentlm.environments.splits import in_split, task_random
from agentlm.environments.task import Action, Move, Split, Task

_ATTEMPTS = 20
_MAX_VALUES = 12
_FIRST_WAY = 0.5
"""Share of tasks in which the expert takes the first of several ways."""
_MISTAKES = 0.06
"""Share of training tasks in which the expert gets a name wrong first."""


class _Unsuitable(Exception):
    """This draw makes no good task."""


def tasks(split: Split, seed: int = 0, known: Collection[Part] = ()) -> Iterator[Task]:
    """An endless stream of distinct tasks; every skill comes once before any comes again.

    The parts in `known` are drawn as in training.
    """
    parts = Parts(split, known)
    by_skill = templates(parts.of("phrasing"))
    names = sorted(by_skill)
    Random(f"db/{split}/{seed}").shuffle(names)
    seen: set[str] = set()
    used = UsedNames()
    for index in count():
        phrasings = by_skill[names[index % len(names)]]
        task = _draw(phrasings, parts, task_random("db", split, seed, index), seen, used)
        if task is not None:
            seen.add(task.id)
            yield task


def _draw(
    phrasings: list[Template], parts: Parts, rng: Random, seen: set[str], used: UsedNames
) -> Task | None:
    """A task not seen before; None if the skill has no more (Chinook is finite)."""
    for _ in range(_ATTEMPTS):
        template = phrasings[drawn([it.weight for it in phrasings], parts.of("phrasing"), rng)]
        try:
            make = _chinook_task if template.skill.tables else _table_task
            task, tables = make(template, Drawing(parts, rng, used))
        except _Unsuitable:
            continue
        if task.id not in seen:
            used.add(tables)
            return task
    return None


def _table_task(template: Template, drawing: Drawing) -> tuple[Task, tuple[Table, ...]]:
    tables = draw_tables(drawing, template.slots, template.skill.exact)
    slots = bind(tables, template.slots, drawing)
    if template.slots - set(slots) - {"answer", "r1", "r2", "r3"}:
        raise _Unsuitable
    statement = Statement(drawing.parts.of("schema"), drawing.random)
    instruction = statement.text(template.phrasing, slots, tables, template.skill.hidden)
    parameters: dict[str, Any] = {
        "tables": [
            {
                "table": str(table.name),
                "columns": [list(column) for column in table.typed],
                "rows": table.rows,
            }
            for table in tables
        ]
    }
    image = _image(tables)
    task = _play_expert(template, drawing.parts.split, slots, image, instruction, parameters)
    return _with_mistake(task, image, drawing.random), tables


def _chinook_task(template: Template, drawing: Drawing) -> tuple[Task, tuple[Table, ...]]:
    split, rng = drawing.parts.split, drawing.random
    slots: dict[str, Value] = {
        name: rng.choice(pool(kind, split)) for name, kind in template.skill.fresh.items()
    }
    for name, query in template.skill.bind.items():
        candidates = in_split(_chinook_values(query), split)
        if not candidates:
            raise _Unsuitable
        slots[name] = rng.choice(candidates)
    tables = ", ".join(template.skill.tables)
    question = in_words(template.phrasing, slots)
    instruction = f"{question}\nThe database is Chinook, a music shop; look at {tables}."
    parameters = {"database": "chinook"}
    task = _play_expert(template, split, slots, chinook.image(), instruction, parameters)
    return task, ()


def _play_expert(
    template: Template,
    split: Split,
    slots: dict[str, Value],
    image: bytes,
    instruction: str,
    parameters: dict[str, Any],
) -> Task:
    """Run the expert's statements: what they give is the right answer or the right contents.

    The answer comes from the first way; any other way has to reach the same one.
    """
    skill = template.skill
    # Not the task's own random numbers: a question must not depend on the number of ways.
    chance = Random(instruction)
    with closing(Database(image)) as database:
        if skill.distinct is not None:
            _require_distinct(database.run(in_sql(skill.distinct, slots)).rows)
        before = database.state_hash() if skill.changes else ""
        right = _run(skill, skill.ways[0], slots, database)
    others = skill.ways[1:]
    if others and chance.random() > _FIRST_WAY:
        with closing(Database(image)) as database:
            chosen = _run(skill, chance.choice(others), slots, database)
        if not chosen.agrees_with(right):
            raise _Unsuitable
    else:
        chosen = right
    if right.contents == before and skill.changes:
        raise _Unsuitable
    outcome = {"answer_md5": right.contents} if skill.changes else {"label": right.answer}
    words = in_words(skill.answer, {**chosen.slots, "answer": ", ".join(right.answer)})
    final = Move(thought=words, answer=json.dumps(right.answer, ensure_ascii=False))
    return Task(
        environment="db",
        template=template.id,
        family=skill.family,
        split=split,
        instruction=instruction,
        parameters=parameters | outcome,
        gold=(*chosen.moves, final),
    )


class _Expert(NamedTuple):
    """What the expert did in one way, and what came of it."""

    moves: list[Move]
    answer: list[str]
    contents: str
    slots: dict[str, Value]

    def agrees_with(self, other: _Expert) -> bool:
        return self.contents == other.contents and answers_match(self.answer, other.answer)


def _run(
    skill: Skill, way: tuple[Stage, ...], slots: dict[str, Value], database: Database
) -> _Expert:
    moves = [_look_at(table) for table in skill.tables]
    values: list[Any] = []
    slots = dict(slots)
    for number, stage in enumerate(way, 1):
        query = in_sql(stage.sql, slots)
        reasons = [in_words(stage.think, slots), "" if skill.tables else links(stage.sql, slots)]
        thought = " ".join(filter(None, reasons))
        moves.append(Move(thought=thought, action=Action(name="sql", arguments={"query": query})))
        values = [cell for row in database.run(query).rows for cell in row]
        if values and values[0] is not None:
            slots[f"r{number}"] = values[0]
    if skill.changes:
        return _Expert(moves, ["done"], database.state_hash(), slots)
    return _Expert(moves, _label(values), "", slots)


def _with_mistake(task: Task, image: bytes, rng: Random) -> Task:
    """In some training tasks: first the statement with a wrong name, then the right one."""
    first, *others = task.gold
    if task.split != "train" or rng.random() > _MISTAKES or first.action is None:
        return task
    made = slip(first.action.arguments["query"], rng)
    if made is None:
        return task
    right, slipped = made
    query = first.action.arguments["query"].replace(right, slipped)
    with closing(Database(image)) as database:
        try:
            database.run(query)
        except StatementError:
            thought = first.thought.replace(right, slipped)
            wrong = Move(thought=thought, action=Action(name="sql", arguments={"query": query}))
            excuse = f"There is no {slipped}. The name is {right}, as the task has it."
            mended = first.model_copy(update={"thought": f"{excuse} {first.thought}"})
            return task.model_copy(update={"gold": (wrong, mended, *others)})
    return task


def _look_at(table: str) -> Move:
    """Chinook's columns are not in the prompt: an expert asks for them first."""
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


def _image(tables: tuple[Table, ...]) -> bytes:
    with closing(Database()) as database:
        for table in tables:
            database.create(table.name, table.typed, table.rows)
        return database.image()


@cache
def _chinook_values(query: str) -> list[str]:
    with closing(Database(chinook.image())) as database:
        # A name with braces would be read as a slot.
        return [str(row[0]) for row in database.run(query).rows if "{" not in str(row[0])]
