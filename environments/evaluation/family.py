"""One family's tasks and its world, each made only when it is needed.

Tasks are written to a file once they are drawn: an evaluation that is continued has the very same
ones, and one with nothing left to play opens no world. They are drawn anew if the code that makes
them has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from agentlm import environments
from agentlm.environments.adapters.loading import version_of
from agentlm.environments.catalogue import EnvironmentName, opened, tasks_of
from agentlm.environments.evaluation.kept import kept_file
from agentlm.environments.evaluation.settings import EvalSettings
from agentlm.environments.playing.progress import setting_plan
from agentlm.environments.task import Environment, Task
from agentlm.files import json_lines, write_text
from agentlm.tools.graph.place import DESCRIPTION, graph_dir


@dataclass
class Family:
    """The tasks of one environment that an evaluation is about. Made by `family`."""

    name: EnvironmentName
    settings: EvalSettings
    _stack: AsyncExitStack
    _environment: Environment | None = None
    _tasks: list[Task] | None = None

    async def environment(self) -> Environment:
        """The world, opened when it is first asked for."""
        if self._environment is None:
            world = opened(
                self.name,
                concurrency=self.settings.concurrency,
                data_dir=self.settings.data_dir,
                scoring=self.settings.scoring,
                known=self.settings.known,
            )
            self._environment = await self._stack.enter_async_context(world)
        return self._environment

    async def tasks(self) -> list[Task]:
        """The tasks, read from their file if it has been written."""
        if self._tasks is None:
            if self.name == "kg" and not self._graph().is_file():
                await self.environment()  # builds the graph, which says what the tasks can be
            file = kept_file(self.settings, f"tasks-{self.name}", self._plan())
            self._tasks = _read(file) or await self._draw(file)
        return self._tasks

    def floor_file(self, tasks: list[Task]) -> Path:
        """Where the scores of players without skill at these tasks are kept."""
        content = {"ids": [task.id for task in tasks], "floor": self._plan()}
        return kept_file(self.settings, f"floor-{self.name}", content)

    async def _draw(self, file: Path) -> list[Task]:
        wanted = self.settings
        tasks = list(
            tasks_of(
                await self.environment(), wanted.split, wanted.seed, wanted.limit, wanted.tasks
            )
        )
        write_text(file, "".join(f"{task.model_dump_json()}\n" for task in tasks))
        return tasks

    def _plan(self) -> dict[str, object]:
        """What the tasks and their scores depend on, apart from models and decoding."""
        players = ("url", "base", "base_url", "model", "general", "cases")
        decoding = ("decoding", "temperature", "max_tokens", "one_shot", "grammar", "answers")
        plan = setting_plan(self.settings, without=(*players, *decoding))
        return {
            **plan,
            "env": self.name,
            "limit": self.settings.limit,
            "sources": _sources(),
            "world": version_of(self.name),
            "graph": self._graph().read_text() if self.name == "kg" else None,
        }

    def _graph(self) -> Path:
        return graph_dir(self.settings.data_dir) / DESCRIPTION


@asynccontextmanager
async def family(name: EnvironmentName, settings: EvalSettings) -> AsyncIterator[Family]:
    """The family's tasks. Whatever they open is closed at the end."""
    async with AsyncExitStack() as stack:
        yield Family(name, settings, stack)


def _read(file: Path) -> list[Task] | None:
    try:
        lines = json_lines(file.read_text(encoding="utf-8"))
        return [Task.model_validate_json(line) for line in lines]
    except (FileNotFoundError, ValidationError):
        return None


def _sources() -> str:
    """A digest of what makes and scores tasks."""
    root = Path(environments.__file__).parent
    files = sorted(file for file in root.rglob("*") if file.suffix in (".py", ".yaml"))
    texts = [[str(file.relative_to(root)), file.read_text(encoding="utf-8")] for file in files]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
