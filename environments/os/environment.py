"""The operating system environment: a private shell per task, in the bash tool's own sandbox."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from agentlm.agent.tool import Observation, ToolContext, ToolError
from agentlm.environments.os import agentbench
from agentlm.environments.os.compare import agrees
from agentlm.environments.os.generate import tasks
from agentlm.environments.task import Action, Split, Task
from agentlm.messages import ToolSpec
from agentlm.tools.schema import spec_of
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.bash import Bash, BashArgs

MAX_OBSERVATION_CHARS = 800
COMMAND_SECONDS = 10.0

_WRITABLE = ("/home", "/root", "/var", "/opt", "/srv", "/assignment")
"""Where AgentBench's tasks put files beside the home directory."""
_PREFIX = "agentlm-os-"
_NOT_SET_UP = re.compile(r"Read-only file system|Permission denied|command not found")
_EXIT_CODE = re.compile(r"\[exit code (\d+)\]$")
_PROMPT = """\
Work in a Linux shell with the bash tool, one command at a time, and do what is asked below; files \
named there are in the current directory.
When it is done, give the final answer: nothing but the number, name or text asked for. After a \
change, answer done.

{instruction}"""


class BrokenTaskError(Exception):
    """The task's own script failed in the sandbox."""


class OsEnvironment:
    """Questions about files and changes to them. Made by `opened`, which owns the shells."""

    name = "os"
    max_turns = 10

    def __init__(self, bash: Bash) -> None:
        self._bash = bash

    def tools(self) -> tuple[ToolSpec, ...]:
        """The bash tool as our server offers it, but the player's to call."""
        return (spec_of(self._bash).model_copy(update={"owner": "client"}),)

    def prompt(self, task: Task) -> str:
        """How to work and to answer, then the task."""
        return _PROMPT.format(instruction=task.instruction)

    def generate(self, split: Split, seed: int = 0) -> Iterator[Task]:
        """See `generate.tasks`."""
        return tasks(split, seed)

    def load(self, path: Path, split: Split) -> list[Task]:
        """AgentBench's `os_interaction` files."""
        return agentbench.load(path, split)

    def open(self, task: Task) -> AbstractAsyncContextManager[OpenShell]:
        """A shell in a fresh work directory, with the task's scene in it."""
        return _opened(self._bash, task.parameters)


class OpenShell:
    """One try at a task in its own shell."""

    def __init__(self, bash: Bash, parameters: dict[str, Any]) -> None:
        self._bash = bash
        self._parameters = parameters
        self._context = ToolContext(f"task-{uuid.uuid4().hex}", "local")
        self._expected: str | None = parameters.get("match")

    async def act(self, action: Action) -> Observation:
        """Run the command. Usage errors and unknown commands count as failed."""
        if not action.arguments["command"].strip():
            return Observation("error: the command is empty", failed=True)
        try:
            text = await self._run(action.arguments["command"])
        except ToolError as error:
            return Observation(str(error), failed=True)
        code = _EXIT_CODE.search(text)
        return Observation(text, failed=code is not None and int(code[1]) > 1)

    async def prepare(self) -> None:
        """Make the scene, and ask for the right answer before the player can change it."""
        for name in ("init", "start"):
            said = await self._run(script) if (script := self._parameters.get(name)) else ""
            if reason := _NOT_SET_UP.search(said):
                raise BrokenTaskError(f"the task can't be set up in a sandbox: {reason[0].lower()}")
        if "expect" in self._parameters:
            self._expected = await self._alone(self._parameters["expect"])

    async def score(self, answer: str) -> float:
        """A right answer, or a scene that passes the task's check."""
        if script := self._parameters.get("check"):
            return float(bool(answer.strip()) and await self._passes(script))
        if reference := self._parameters.get("expect_after"):
            self._expected = await self._alone(reference)
        if self._expected is None:
            raise BrokenTaskError("the task has no answer to compare with")
        return float(agrees(answer, self._expected, self._parameters["compare"]))

    async def close(self) -> None:
        """End the shell and remove its files."""
        await self._bash.release(self._context.trajectory_id)

    async def _run(self, command: str) -> str:
        return await self._bash.run(BashArgs(command=command), self._context)

    async def _alone(self, script: str) -> str:
        """Output of a script in a bash of its own: where the player is, and what functions it has
        made, don't reach it."""
        alone = f"cd /workspace; {script}"
        return (await self._run(f"/bin/bash --norc --noprofile -c {quote(alone)}")).strip()

    async def _passes(self, script: str) -> bool:
        # The player can't know the word, so nothing it left behind can print it.
        word = secrets.token_hex(16)
        try:
            return word in (await self._alone(f"{{ {script}; }} > /dev/null 2>&1 && echo {word}"))
        except ToolError:
            return False


@asynccontextmanager
async def opened(shells: int) -> AsyncIterator[OsEnvironment]:
    """The environment, with up to `shells` tasks open at once.

    Raises OperatorError if this machine can't sandbox a shell.
    """
    _remove_leftovers()
    with TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as directory:
        settings = ToolSettings(
            data_dir=Path(directory),
            tool_timeout_s=COMMAND_SECONDS,
            tool_output_chars=MAX_OBSERVATION_CHARS,
            bash_shells=shells,
            bash_disk_mb=64,
            bash_writable=_WRITABLE,
        )
        bash = await Bash.open(settings)
        try:
            yield OsEnvironment(bash)
        finally:
            await bash.close()


def _remove_leftovers() -> None:
    """Files of rollouts that were killed."""
    for path in Path(gettempdir()).glob(f"{_PREFIX}*"):
        if not Path("/proc", path.name.split("-")[2]).exists():
            shutil.rmtree(path, ignore_errors=True)


@asynccontextmanager
async def _opened(bash: Bash, parameters: dict[str, Any]) -> AsyncIterator[OpenShell]:
    shell = OpenShell(bash, parameters)
    try:
        await shell.prepare()
        yield shell
    finally:
        await shell.close()
