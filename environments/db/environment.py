"""The database environment: answer a question, or change the data, with SQL statements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from agentlm.agent.tool import Observation
from agentlm.environments.db import agentbench, chinook
from agentlm.environments.db.database import Database, Result, StatementError
from agentlm.environments.db.generate import tasks
from agentlm.environments.db.scoring import answers_match, parse_answer
from agentlm.environments.task import Action, Split, Task
from agentlm.messages import ToolSpec

MAX_OBSERVATION_CHARS = 800

_SQL = ToolSpec(
    name="sql",
    description="Run one SQL statement (MySQL dialect) on the database and see its rows.",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "The statement, with all names quoted by `"}
        },
        "required": ["query"],
        "additionalProperties": False,
    },
)

_PROMPT = """\
Work on a MySQL database with the sql tool, one statement at a time, and do what is asked below.
When it is done, give the final answer as a JSON list of strings: the values asked for, exactly as \
the database holds them, for example ["42"]. After a change to the data, answer ["done"].

{instruction}"""


class DbEnvironment:
    """Questions over tables drawn for each task and over the Chinook sample database."""

    name = "db"
    max_turns = 15

    def tools(self) -> tuple[ToolSpec, ...]:
        """`sql` alone."""
        return (_SQL,)

    def prompt(self, task: Task) -> str:
        """What the database is and how to answer, then the task."""
        return _PROMPT.format(instruction=task.instruction)

    def generate(self, split: Split, seed: int = 0) -> Iterator[Task]:
        """See `generate.tasks`."""
        return tasks(split, seed)

    def load(self, path: Path, split: Split) -> list[Task]:
        """AgentBench's `dbbench/*.jsonl`."""
        return agentbench.load(path, split)

    def open(self, task: Task) -> AbstractAsyncContextManager[OpenDatabase]:
        """A private copy of the task's database."""
        return _opened(task)


class OpenDatabase:
    """One try at a task on its own database."""

    def __init__(self, database: Database, parameters: dict[str, Any]) -> None:
        self._database = database
        self._parameters = parameters

    async def act(self, action: Action) -> Observation:
        """Run the statement; what the database refuses is a failed observation."""
        try:
            result = await asyncio.to_thread(self._database.run, action.arguments["query"])
        except StatementError as error:
            return Observation(f"error: {error}", failed=True)
        return Observation(shown(result))

    async def score(self, answer: str) -> float:
        """Right values for a question, right contents for a change."""
        if (label := self._parameters.get("label")) is not None:
            return float(answers_match(parse_answer(answer), label))
        wanted = self._parameters["answer_md5"]
        table = self._parameters.get("hash_table")
        hashed = self._database.state_hash if table is None else self._database.table_hash
        arguments = () if table is None else (table,)
        return float(await asyncio.to_thread(hashed, *arguments) == wanted)


def shown(result: Result) -> str:
    """Rows as a driver fetches them, cut to what a player should read."""
    if result.changed is not None:
        return f"{result.changed} row{'' if result.changed == 1 else 's'} changed."
    text = repr(result.rows)
    if len(text) > MAX_OBSERVATION_CHARS:
        count = f"{len(result.rows)}{' or more' if result.more else ''}"
        text = f"{text[:MAX_OBSERVATION_CHARS]}… (cut; {count} rows in all)"
    return text


@asynccontextmanager
async def _opened(task: Task) -> AsyncIterator[OpenDatabase]:
    database = await asyncio.to_thread(build, task.parameters)
    try:
        yield OpenDatabase(database, task.parameters)
    finally:
        database.close()


def build(parameters: dict[str, Any]) -> Database:
    """The database that a task's parameters describe."""
    if parameters.get("database") == "chinook":
        return Database(chinook.image())
    database = Database()
    for table in parameters.get("tables", [parameters]):
        columns = [(name, kind) for name, kind in table["columns"]]
        database.create(table["table"], columns, table["rows"])
    return database
