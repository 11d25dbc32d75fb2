"""The database environment: answer a question, or change the data, with SQL statements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

from agentlm.agent.tool import Observation
from agentlm.environments.db import agentbench, agentbench_scoring, chinook
from agentlm.environments.db.database import Database, Result, StatementError
from agentlm.environments.db.generate import tasks
from agentlm.environments.db.parts import Part
from agentlm.environments.db.scoring import answers_match, parse_answer
from agentlm.environments.task import Action, Scoring, Split, Task
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
    max_turns = 14

    def __init__(self, scoring: Scoring = "agentlm", known: Collection[Part] = ()) -> None:
        self._scoring = scoring
        self._known = known

    def tools(self) -> tuple[ToolSpec, ...]:
        return (_SQL,)

    def prompt(self, task: Task) -> str:
        """What the database is and how to answer, then the task."""
        return _PROMPT.format(instruction=task.instruction)

    def generate(self, split: Split, seed: int = 0) -> Iterator[Task]:
        return tasks(split, seed, self._known)

    def load(self, path: Path, split: Split) -> list[Task]:
        """AgentBench's `dbbench/*.jsonl`."""
        return agentbench.load(path, split)

    def open(self, task: Task) -> AbstractAsyncContextManager[OpenDatabase]:
        """A private copy of the task's database."""
        return _opened(task, self._scoring)


class OpenDatabase:
    """One try at a task on its own database."""

    def __init__(self, database: Database, parameters: dict[str, Any], scoring: Scoring) -> None:
        self._database = database
        self._parameters = parameters
        self._exact = scoring == "agentbench"

    async def act(self, action: Action) -> Observation:
        """Run the statement; what the database refuses is a failed observation."""
        try:
            result = await asyncio.to_thread(self._database.run, action.arguments["query"])
        except StatementError as error:
            return Observation(f"error: {error}", failed=True)
        return Observation(result_text(result))

    async def score(self, answer: str) -> float:
        """Right values for a question, right contents for a change."""
        if (label := self._parameters.get("label")) is not None:
            if self._exact:
                return float(agentbench_scoring.answers_match(answer, label))
            return float(bool(answer.strip()) and answers_match(parse_answer(answer), label))
        return float(await asyncio.to_thread(self._is_changed))

    def _is_changed(self) -> bool:
        """Whether the data is as it should be.

        AgentBench's digest covers only the beginning of a table, so it misses changes beyond that.
        By our rules all data has to be as the file's own statement leaves it, provided that this
        statement gives the file's digest.
        """
        wanted: str = self._parameters["answer_md5"]
        table: str | None = self._parameters.get("hash_table")
        if table is None:
            return self._database.state_hash() == wanted
        solution = self._parameters["solution"]
        with closing(build(self._parameters)) as right:
            with suppress(StatementError):
                right.run(solution)
            wanted = wanted or right.table_hash(table)
            if not self._exact and right.table_hash(table) == wanted:
                return self._database.state_hash() == right.state_hash()
        return table in self._database.table_names() and (
            self._database.table_hash(table) == wanted
        )


def result_text(result: Result) -> str:
    """Rows as a driver fetches them, cut to what a player should read."""
    if result.changed is not None:
        return f"{result.changed} row{'' if result.changed == 1 else 's'} changed."
    text = repr(result.rows)
    if len(text) > MAX_OBSERVATION_CHARS:
        count = f"{len(result.rows)}{' or more' if result.more else ''}"
        text = f"{text[:MAX_OBSERVATION_CHARS]}… (cut; {count} rows in all)"
    return text


@asynccontextmanager
async def _opened(task: Task, scoring: Scoring) -> AsyncIterator[OpenDatabase]:
    database = await asyncio.to_thread(build, task.parameters)
    try:
        yield OpenDatabase(database, task.parameters, scoring)
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
