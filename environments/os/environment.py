"""The operating system environment: a private shell per task, in the bash tool's own sandbox."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from agentlm.agent.tool import Observation, ToolError
from agentlm.environments.os import agentbench
from agentlm.environments.os.generate import tasks
from agentlm.environments.os.scorers import Scorer, scorer_of
from agentlm.environments.os.world import Script, World
from agentlm.environments.task import Action, Scoring, Split, Task
from agentlm.messages import ToolSpec
from agentlm.scratch import scratch
from agentlm.tools.schema import spec_of
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.bash import Bash

MAX_OBSERVATION_CHARS = 800
COMMAND_SECONDS = 10.0

_WRITABLE = (
    *("/home", "/root", "/var", "/opt", "/srv", "/tmp", "/assignment"),
    *("/usr", "/usr/local/bin"),
)
"""Where AgentBench's tasks put files beside the work directory."""
_EXIT_CODE = re.compile(r"\[exit code (\d+)\]$")
_PROMPT = """\
Work in a Linux shell with the bash tool, one command at a time, and do what is asked below; files \
named there are in the current directory.
When it is done, give the final answer: nothing but the number, name or text asked for. After a \
change, answer done.

{instruction}"""


class OsEnvironment:
    """Questions about files and changes to them. Made by `opened`, which owns the shells."""

    name = "os"
    max_turns = 9

    def __init__(self, bash: Bash, scoring: Scoring = "agentlm") -> None:
        self._bash = bash
        self._scoring = scoring

    def tools(self) -> tuple[ToolSpec, ...]:
        """The bash tool as our server offers it, but the player's to call."""
        return (spec_of(self._bash).model_copy(update={"owner": "client"}),)

    def prompt(self, task: Task) -> str:
        """How to work and to answer, then the task."""
        return _PROMPT.format(instruction=task.instruction)

    def generate(self, split: Split, seed: int = 0) -> Iterator[Task]:
        return tasks(split, seed)

    def load(self, path: Path, split: Split) -> list[Task]:
        """AgentBench's `os_interaction` files."""
        return agentbench.load(path, split)

    def open(self, task: Task) -> AbstractAsyncContextManager[OpenShell]:
        """A shell in a fresh work directory, with the task's scene in it."""
        return _opened(self._bash, task, self._scoring)


class OpenShell:
    """One try at a task in its own shell."""

    def __init__(self, world: World, scorer: Scorer) -> None:
        self._world = world
        self._scorer = scorer

    async def act(self, action: Action) -> Observation:
        """Run the command. Usage errors and unknown commands count as failed."""
        if not action.arguments["command"].strip():
            return Observation("error: the command is empty", failed=True)
        try:
            text = await self._world.play(action.arguments["command"])
        except ToolError as error:
            return Observation(str(error), failed=True)
        code = _EXIT_CODE.search(text)
        return Observation(text, failed=code is not None and int(code[1]) > 1)

    async def score(self, answer: str) -> float:
        """A right answer, or a scene that passes the task's check."""
        await self._world.settle()
        return float(await self._scorer.is_solved(answer))


@asynccontextmanager
async def opened(shells: int, scoring: Scoring = "agentlm") -> AsyncIterator[OsEnvironment]:
    """The environment, with up to `shells` tasks open at once.

    Raises OperatorError if this machine can't sandbox a shell.
    """
    with scratch("os") as directory:
        settings = ToolSettings(
            data_dir=Path(directory),
            tool_timeout_s=COMMAND_SECONDS,
            tool_output_chars=MAX_OBSERVATION_CHARS,
            bash_shells=2 * shells,  # a world of the expert's beside each player's
            bash_disk_mb=64,
            bash_writable=_WRITABLE,
        )
        bash = await Bash.open(settings)
        try:
            yield OsEnvironment(bash, scoring)
        finally:
            await bash.close()


@asynccontextmanager
async def _opened(bash: Bash, task: Task, scoring: Scoring) -> AsyncIterator[OpenShell]:
    parameters = task.parameters
    world = World(bash, f"task-{uuid.uuid4().hex}", parameters.get("home"))
    scorer = scorer_of(task, world, scoring)
    try:
        for script in _set_ups(parameters):
            await world.set_up(script)
        await scorer.prepare()
        if world.home:
            await world.play(f"cd {world.home}; export HOME={world.home}")
        if start := parameters.get("start"):
            await world.play(start)
        yield OpenShell(world, scorer)
    finally:
        await world.close()


def _set_ups(parameters: dict[str, Any]) -> Iterator[Script]:
    init = parameters.get("init", [])
    if isinstance(init, str):
        yield Script(code=init)
    else:
        yield from map(Script.model_validate, init)
