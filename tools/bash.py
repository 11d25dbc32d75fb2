"""The bash tool: a sandboxed shell per trajectory, a bounded number of them alive."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict

from pydantic import BaseModel, Field

from agentlm.agent import ToolContext, ToolError
from agentlm.errors import OperatorError
from agentlm.messages import Frozen
from agentlm.tools.bubblewrap import require_programs
from agentlm.tools.sandbox import CommandResult, Sandbox
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell import ShellError

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_PROBE = ToolContext(trajectory_id="probe", owner="")


class BashArgs(Frozen):
    """Arguments of `bash`."""

    command: str = Field(min_length=1, max_length=100_000)
    """The command line or script to run."""


class Bash:
    """Run a command in a bash shell on a Linux machine that has no network. The working directory,
    variables and background jobs are kept for your next command. Files can be written in the
    working directory (/workspace) and in /tmp only. Nothing can be typed in while a command runs.
    """

    name = "bash"
    Args: type[BaseModel] = BashArgs

    def __init__(self, settings: ToolSettings) -> None:
        self._settings = settings
        self._sandboxes: OrderedDict[str, Sandbox] = OrderedDict()
        self._running = asyncio.Semaphore(settings.bash_shells)

    @classmethod
    async def open(cls, settings: ToolSettings) -> Bash:
        """Try the sandbox once. Raises OperatorError if this machine can't run it."""
        require_programs(settings)
        bash = cls(settings)
        try:
            await bash.run(BashArgs(command="true | true"), _PROBE)
            await bash.release(_PROBE.trajectory_id)
        except ShellError as error:
            raise OperatorError(
                f"the bash tool can't start a sandbox on this machine: {error}; allow user "
                "namespaces, leave bash out of `tools`, or accept the risk: `bash_sandbox=unsafe`"
            ) from error
        except OSError as error:
            raise OperatorError(
                f"sandboxes can't be kept in {settings.sandboxes_dir()}: {error.strerror or error}"
            ) from error
        return bash

    async def run(self, args: BashArgs, context: ToolContext) -> str:
        """Run one command in the trajectory's shell; a shell that is gone is started anew."""
        if "\0" in args.command:
            raise ToolError("a command can't contain a NUL character")
        async with self._running:
            await self._make_room_for(context.trajectory_id)
            result = await self._sandbox(context.trajectory_id).run(args.command)
        if result.finished.stopped:
            raise ToolError(_observation(result))
        return _observation(result)

    async def release(self, trajectory_id: str) -> None:
        """End the trajectory's shell and remove its files."""
        sandbox = self._sandbox(trajectory_id)
        await sandbox.end("it was released")
        self._sandboxes.pop(trajectory_id, None)
        await sandbox.remove()

    async def close(self) -> None:
        """End every shell; files stay."""
        sandboxes = list(self._sandboxes.values())
        await asyncio.gather(*(sandbox.end("the server was restarted") for sandbox in sandboxes))

    def _sandbox(self, trajectory_id: str) -> Sandbox:
        """The trajectory's sandbox, now the most recently used one."""
        if not _SAFE_ID.fullmatch(trajectory_id):
            raise ValueError(f"not a trajectory id: {trajectory_id!r}")
        sandbox = self._sandboxes.pop(trajectory_id, None) or Sandbox(
            self._settings.sandboxes_dir() / trajectory_id, self._settings
        )
        self._sandboxes[trajectory_id] = sandbox
        return sandbox

    async def _make_room_for(self, trajectory_id: str) -> None:
        """Let one more shell live: forget sandboxes without one, end the least recently used."""
        others = {key: box for key, box in self._sandboxes.items() if key != trajectory_id}
        for key, sandbox in others.items():
            if not (sandbox.alive or sandbox.busy):
                del self._sandboxes[key]
        alive = [sandbox for sandbox in others.values() if sandbox.alive]
        idle = [sandbox for sandbox in alive if not sandbox.busy]
        if idle and len(alive) >= self._settings.bash_shells:
            await idle[0].end("other conversations needed the room")


def _observation(result: CommandResult) -> str:
    finished = result.finished
    parts = []
    if result.restarted:
        parts.append(
            f"[a new shell was started because {result.restarted}: variables, the current "
            "directory and background jobs are lost, files are kept]"
        )
    if finished.output.strip():
        parts.append(finished.output.rstrip("\n"))
    elif not finished.stopped:
        parts.append("(no output)")
    if finished.stopped:
        parts.append(f"[stopped: {finished.stopped}; all of its processes were killed]")
    elif finished.exit_code:
        parts.append(f"[exit code {finished.exit_code}]")
    if finished.shell_ended and not finished.stopped:
        parts.append("[the shell has ended; your next command gets a new one]")
    if result.removed_files:
        parts.append(f"[the newest {result.removed_files} files were removed]")
    return "\n".join(parts)
