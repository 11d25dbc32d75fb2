"""The environments there are, by name: ours, and yours in the forms of `adapters/loading.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from agentlm.environments.adapters import loading
from agentlm.environments.adapters.world import WorldEnvironment
from agentlm.environments.agentinstruct import (
    DbTexts,
    HouseholdTexts,
    KgTexts,
    OsTexts,
    TextGrammar,
    WebshopTexts,
)
from agentlm.environments.db.parts import Part
from agentlm.environments.task import Environment, Scoring, Split, Task
from agentlm.errors import OperatorError

FAMILIES = ("db", "os", "kg", "household", "webshop")
"""The environments of this package."""
AGENTBENCH = ("db", "os", "kg")
"""Environments for which AgentBench's own code has rules."""


def _checked_name(name: str) -> str:
    if name in FAMILIES or loading.is_known(name):
        return name
    names = ", ".join([*FAMILIES, *loading.OTHERS, *loading.points()])
    raise ValueError(f"unknown environment {name!r}; known: {names}, or {loading.FORMS}")


EnvironmentName = Annotated[str, AfterValidator(_checked_name)]
"""As in `--env`."""


@asynccontextmanager
async def opened(
    name: EnvironmentName,
    *,
    concurrency: int,
    data_dir: Path,
    scoring: Scoring = "agentlm",
    known: Collection[Part] = (),
) -> AsyncIterator[Environment]:
    """One environment for up to `concurrency` tasks at once. Its requirements are imported only
    now.

    The knowledge graph is built once for each user. Parts of tasks that are `known` are drawn as in
    training.

    Raises OperatorError if a required package or program is missing, or if the family has no such
    parts, or no rules of AgentBench's.
    """
    if known and name != "db":
        raise OperatorError(
            f"--known {','.join(known)}: only tasks of db have such parts, not {name}"
        )
    if scoring != "agentlm" and name not in AGENTBENCH:
        raise OperatorError(f"--scoring {scoring} is offered for {', '.join(AGENTBENCH)}")
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
        case "household":
            from agentlm.environments.household.environment import HouseholdEnvironment

            yield HouseholdEnvironment()
        case "webshop":
            from agentlm.environments.webshop.environment import WebshopEnvironment

            yield WebshopEnvironment()
        case _:
            world = loading.environment_of(name)
            async with world.shared() if isinstance(world, WorldEnvironment) else nullcontext():
                yield world


def text_grammar(environment: Environment) -> TextGrammar:
    """AgentInstruct's way of writing this family's turns."""
    match environment.name:
        case "db":
            return DbTexts()
        case "os":
            return OsTexts()
        case "household":
            return HouseholdTexts()
        case "webshop":
            return WebshopTexts()
        case "kg":
            return KgTexts(
                {tool.name: tuple(tool.parameters["properties"]) for tool in environment.tools()}
            )
    raise OperatorError(
        f"--grammar agentinstruct is offered for {', '.join(FAMILIES)}: AgentInstruct has no texts "
        f"for {environment.name}"
    )


def tasks_of(
    environment: Environment, split: Split, seed: int, limit: int, file: Path | None = None
) -> Iterable[Task]:
    """Up to `limit` tasks: AgentBench's from a file, else generated ones.

    Raises OperatorError if there are none: playing nothing is not the same as solving everything.
    """
    if file is not None:
        return _loaded(environment, split, file)[:limit]
    tasks = environment.generate(split, seed)
    first = next(tasks, None)
    if first is None:
        raise OperatorError(f"{environment.name} has no task of the split {split}")
    return islice(chain([first], tasks), limit)


def _loaded(environment: Environment, split: Split, file: Path) -> list[Task]:
    load = getattr(environment, "load", None)
    if load is None:
        raise OperatorError(f"--tasks: {environment.name} reads no task files: it has no `load`")
    tasks: list[Task] = load(file, split)
    if not tasks:
        raise OperatorError(f"the task file {file} holds no task that can be played")
    return tasks
