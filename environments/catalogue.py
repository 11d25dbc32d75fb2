"""The environments there are, by name."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Literal

from agentlm.environments.task import Environment, Split, Task

EnvironmentName = Literal["db"]


def find(name: EnvironmentName) -> Environment:
    """One environment; what it needs is imported only then."""
    from agentlm.environments.db.environment import DbEnvironment

    return DbEnvironment()


def tasks_of(
    environment: Environment, split: Split, seed: int, limit: int, file: Path | None = None
) -> Iterable[Task]:
    """Up to `limit` tasks: AgentBench's from a file, else generated ones."""
    return islice(
        environment.load(file, split) if file else environment.generate(split, seed), limit
    )
