"""Running a task's own scripts where the player can't reach.

Set-ups, references and checks each run in a bash of their own with an empty environment. Those that
run after the player run in a new sandbox as well: its processes were ended, so of its functions,
traps, aliases, variables, start-up settings and background jobs nothing is left. What stays are
files, which are the player's to make; but none of them comes first on the PATH, and the home
directory that programs read their settings from is an empty one unless the task is about it.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from shlex import join
from typing import Literal

from agentlm.agent.tool import ToolContext
from agentlm.messages import Frozen
from agentlm.tools.shell.bash import Bash, BashArgs

SETUP_SECONDS = 90.0
"""AgentBench's set-ups may wait for a minute; they have no deadline there."""
SCRIPT_SECONDS = 30.0
_OUTPUT_CHARS = 20_000
_NO_HOME = "/nonexistent"
# The player's own programs come last: `count` is found, a `test` of its making is not.
_PATH = "PATH=/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin"
_REST = ("USER=agent", "LANG=C.UTF-8", "TERM=dumb")
_NOT_SET_UP = re.compile(r"Read-only file system|Permission denied|command not found")

Language = Literal["bash", "python"]


class BrokenTaskError(Exception):
    """The task's own script failed in the sandbox."""


class Script(Frozen):
    """A program that a task brings along."""

    code: str
    language: Language = "bash"


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """What a script printed, and whether it succeeded."""

    output: str
    succeeded: bool
    stopped: str | None = None
    """Why it did not come to its end."""


@dataclass(frozen=True, slots=True)
class World:
    """The files of one try, and the processes that are among them."""

    bash: Bash
    id: str
    home: str | None = None
    """The home directory of the task's scripts, and where they run."""

    async def run(
        self,
        script: Script,
        *params: str,
        complaints: bool = False,
        timeout_s: float = SCRIPT_SECONDS,
    ) -> ScriptResult:
        """Run a script in a process of its own; `params` are its arguments."""
        command = self._command(script, params) + ("" if complaints else " 2> /dev/null")
        if self.home:
            command = f"cd {self.home} && {command}"
        finished = await self.bash.execute(
            f"({command})", self.id, timeout_s=timeout_s, output_chars=_OUTPUT_CHARS
        )
        return ScriptResult(finished.output, finished.exit_code == 0, finished.stopped)

    async def ask(self, reference: Script, *params: str) -> str:
        """What a reference prints. Raises BrokenTaskError if it does not come to its end."""
        verdict = await self.run(reference, *params)
        if verdict.stopped:
            raise BrokenTaskError(f"the task's reference was stopped: {verdict.stopped}")
        return verdict.output

    async def set_up(self, script: Script) -> None:
        """Run a script that has to succeed. Raises BrokenTaskError."""
        verdict = await self.run(script, complaints=True, timeout_s=SETUP_SECONDS)
        if lacking := _NOT_SET_UP.search(verdict.output):
            raise BrokenTaskError(f"the task can't be set up in a sandbox: {lacking[0].lower()}")
        if not verdict.succeeded:
            reason = verdict.stopped or verdict.output.strip()[-200:] or "it fails"
            raise BrokenTaskError(f"the task's set-up ends in an error: {reason}")

    async def play(self, command: str) -> str:
        """Run a command as a player does, in the shell that is kept."""
        return await self.bash.run(BashArgs(command=command), ToolContext(self.id, "local"))

    async def settle(self) -> None:
        """End all that runs; what comes next finds nothing but files."""
        await self.bash.settle(self.id)

    async def copy(self) -> World:
        """The same files, nothing running."""
        other = self.beside()
        await self.bash.copy(self.id, other.id)
        return other

    def beside(self) -> World:
        """An empty world."""
        return replace(self, id=f"task-{uuid.uuid4().hex}")

    async def close(self) -> None:
        """End all that runs and remove the files."""
        await self.bash.release(self.id)

    def _command(self, script: Script, params: tuple[str, ...]) -> str:
        home = f"HOME={self.home or _NO_HOME}"
        if script.language == "python":
            # Isolated: neither the directory nor the home of the player has modules for it.
            program = ["python3", "-I", "-c", script.code, *params]
        else:
            program = ["/bin/bash", "--norc", "--noprofile", "-c", script.code, "--", *params]
        return join(["/usr/bin/env", "-i", _PATH, home, *_REST, *program])
