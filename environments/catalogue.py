"""The environments there are, by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Literal

from agentlm.environments.agentinstruct import DbTexts, KgTexts, OsTexts, TextGrammar
from agentlm.environments.db.parts import Part
from agentlm.environments.task import Environment, Scoring, Split, Task
from agentlm.errors import OperatorError

EnvironmentName = Literal["db", "os", "kg"]


@asynccontextmanager
async def opened(
    name: EnvironmentName,
    *,
    concurrency: int,
    data_dir: Path,
    scoring: Scoring = "agentlm",
    known: Collection[Part] = (),
) -> AsyncIterator[Environment]:
    """One environment for up to `concurrency` tasks at once. What it needs is imported only then.

    The knowledge graph is built once for a user. Parts of tasks that are `known` are drawn as in
    training.

    Raises OperatorError if a package or program that it needs is missing, or a family has no parts.
    """
    if known and name != "db":
        raise OperatorError(
            f"--known {','.join(known)}: only tasks of db have such parts, not {name}"
        )
    match name:
        case "db":
            from agentlm.environments.db.environment import DbEnvironment

            yield DbEnvironment(scoring, known)
        case "os":
            from agentlm.environments.os import environment as os_environment

            async with os_environment.opened(concurrency, scoring) as shells:
                yield shells
        case "kg":
            from agentlm.environments.kg import environment as kg_environment

            async with kg_environment.opened(data_dir, scoring) as graph:
                yield graph


def text_grammar(environment: Environment) -> TextGrammar:
    """AgentInstruct's way of writing this family's turns."""
    match environment.name:
        case "db":
            return DbTexts()
        case "os":
            return OsTexts()
    return KgTexts(
        {tool.name: tuple(tool.parameters["properties"]) for tool in environment.tools()}
    )


def tasks_of(
    environment: Environment, split: Split, seed: int, limit: int, file: Path | None = None
) -> Iterable[Task]:
    """Up to `limit` tasks: AgentBench's from a file, else generated ones.

    Raises OperatorError for a file that holds none: nothing played is not all solved.
    """
    if file is None:
        return islice(environment.generate(split, seed), limit)
    tasks = environment.load(file, split)
    if not tasks:
        raise OperatorError(f"the task file {file} holds no task that can be played")
    return tasks[:limit]
