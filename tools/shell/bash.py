"""The bash tool: a sandboxed shell per trajectory, a bounded number of them alive."""

from __future__ import annotations

from pydantic import BaseModel, Field

from agentlm.agent.tool import Hints, ToolContext, ToolError
from agentlm.errors import OperatorError
from agentlm.messages import Frozen
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.bubblewrap import require_programs
from agentlm.tools.shell.pool import Shells
from agentlm.tools.shell.sandbox import CommandResult
from agentlm.tools.shell.shell import Finished, ShellError


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
    hints = Hints(read_only=False, destructive=True, open_world=False)
    Args: type[BaseModel] = BashArgs

    def __init__(self, settings: ToolSettings) -> None:
        self._settings = settings
        self._shells = Shells(settings)

    @classmethod
    async def open(cls, settings: ToolSettings) -> Bash:
        """Start the first shell. Raises OperatorError if this machine can't sandbox one."""
        require_programs(settings)
        bash = cls(settings)
        try:
            await bash._shells.open()
        except ShellError as error:
            await bash.close()
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
        async with self._shells.slots:
            sandbox = await self._shells.get(context.trajectory_id)
            result = await sandbox.run(args.command)
        if result.finished.stopped:
            raise ToolError(_observation(result))
        return _observation(result)

    async def execute(
        self, command: str, trajectory_id: str, *, timeout_s: float, output_chars: int
    ) -> Finished:
        """Run a command in the trajectory's shell for the program itself, not for a model."""
        settings = self._settings.model_copy(
            update={"tool_timeout_s": timeout_s, "tool_output_chars": output_chars}
        )
        async with self._shells.slots:
            sandbox = await self._shells.get(trajectory_id)
            return (await sandbox.run(command, settings)).finished

    async def settle(self, trajectory_id: str) -> None:
        """End the trajectory's shell and its background jobs; files stay, for a shell that knows
        nothing of it."""
        await self._shells.settle(trajectory_id)

    async def copy(self, trajectory_id: str, copy_id: str) -> None:
        """Give a new trajectory a copy of this one's files."""
        await self._shells.copy(trajectory_id, copy_id)

    async def release(self, trajectory_id: str) -> None:
        """End the trajectory's shell and remove its files."""
        await self._shells.release(trajectory_id)

    async def close(self) -> None:
        """End every shell; files stay."""
        await self._shells.close()


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
