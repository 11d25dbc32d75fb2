"""One trajectory's sandbox: a work directory that stays, and a shell in it that comes and goes."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from agentlm.tools.settings import MEBIBYTE, ToolSettings
from agentlm.tools.shell.bubblewrap import prepare_workspace, sandboxed_shell
from agentlm.tools.shell.cgroup import Cgroup, delegated
from agentlm.tools.shell.limits import SandboxLimits, disk_excess, trim_to_limits
from agentlm.tools.shell.shell import Bounds, Finished, Shell
from agentlm.tools.shell.workspace import remove_whole

_FLOOD_BYTES = 64 * MEBIBYTE
_BACKGROUND_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command did, and what happened to the shell before it."""

    finished: Finished
    restarted: str | None = None
    """Why the shell that earlier commands ran in is gone, if it is."""
    removed_files: int = 0
    """Files removed because the work directory was over its limits."""


class Sandbox:
    """Runs commands one after another in `directory / "workspace"`; it outlives its shell."""

    def __init__(self, directory: Path, settings: ToolSettings) -> None:
        self._directory = directory
        self._settings = settings
        self._lock = asyncio.Lock()
        self._shell: Shell | None = None
        self._lost: str | None = None
        self._used = False
        self._minder: asyncio.Task[None] | None = None
        self._cgroup: Cgroup | None = None

    @property
    def workspace(self) -> Path:
        """What commands see as /workspace."""
        return self._directory / "workspace"

    @property
    def _bounded(self) -> Path:
        """Everything that commands can write and that stays."""
        return self._directory if self._settings.bash_writable else self.workspace

    @property
    def busy(self) -> bool:
        """Whether a command is running."""
        return self._lock.locked()

    @property
    def alive(self) -> bool:
        """Whether it has a shell."""
        return self._shell is not None and self._shell.alive

    async def run(self, command: str, settings: ToolSettings | None = None) -> CommandResult:
        """Run a command, if need be with a deadline and a bound on its output of its own. Raises
        ShellError if no shell can be started."""
        async with self._lock:
            await self._stop_minding()
            restarted = await self._ensure_shell()
            os.utime(self._directory)  # when it was last used
            assert self._shell is not None
            limits = SandboxLimits(self._shell, self._bounded, self._settings)
            finished = await self._execute(command, limits, settings or self._settings)
            removed = 0
            if over := await self._left_over(limits):
                await self._end(over)
                finished = Finished(finished.output, None, over, shell_ended=True)
                removed = await trim_to_limits(self._bounded, self._settings)
            if self.alive:
                self._minder = asyncio.create_task(self._mind())
            return CommandResult(finished, restarted, removed)

    async def end(self, reason: str) -> None:
        """End the shell and everything it started; files stay."""
        async with self._lock:
            await self._stop_minding()
            await self._end(reason)

    async def remove(self) -> None:
        """Remove the files."""
        await asyncio.to_thread(remove_whole, self._directory)

    async def warm(self) -> None:
        """Have a living shell. Raises ShellError if none can be started."""
        if self.alive:
            return
        await self._end("it ended")
        prepare_workspace(self.workspace, self._settings)
        self._cgroup = self._make_cgroup()
        procs = self._cgroup.procs if self._cgroup else None
        launch = sandboxed_shell(self.workspace, self._settings, procs)
        self._shell = await Shell.start(launch, self.workspace)

    def move(self, directory: Path) -> None:
        """Give directory and shell to another name; what is mounted stays mounted."""
        self._directory.rename(directory)
        self._directory = directory

    async def _ensure_shell(self) -> str | None:
        """Have a living shell. Returns why an earlier one is gone."""
        if self.alive and self._used:
            return None
        await self.warm()
        self._used = True
        mark = self._directory / "started"
        lost = self._lost or "the earlier one has ended" if mark.exists() else None
        mark.touch()
        self._lost = None
        return lost

    def _make_cgroup(self) -> Cgroup | None:
        parent = delegated()
        if parent is None:
            return None
        return Cgroup(
            parent / f"agentlm-{self._directory.name}",
            memory_bytes=self._settings.bash_memory_mb * MEBIBYTE,
            processes=self._settings.bash_processes,
        )

    async def _execute(
        self, command: str, limits: SandboxLimits, settings: ToolSettings
    ) -> Finished:
        assert self._shell is not None
        keep = settings.tool_output_chars
        bounds = Bounds(settings.tool_timeout_s, keep, _FLOOD_BYTES, limits.excess)
        self._lost = "its command was cancelled"
        finished = await self._shell.run(command, bounds)
        self._lost = finished.stopped
        if finished.shell_ended and not finished.stopped:
            self._lost = f"it exited with code {finished.exit_code}"
        return finished

    async def _left_over(self, limits: SandboxLimits) -> str | None:
        """The limit that is exceeded by what a command left behind."""
        if self._shell and self.alive and self._shell.has_background_jobs():
            return await limits.excess()
        return await disk_excess(self._bounded, self._settings)

    async def _mind(self) -> None:
        """Between commands: bound background jobs, and end a shell that is not used any more."""
        assert self._shell is not None
        limits = SandboxLimits(self._shell, self._bounded, self._settings)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.bash_idle_s
        reason = None
        await asyncio.sleep(min(_BACKGROUND_PERIOD_S, self._settings.bash_idle_s))
        while not reason and loop.time() < end and self._shell.has_background_jobs():
            reason = await limits.excess()
            await asyncio.sleep(_BACKGROUND_PERIOD_S)
        if not reason:
            await asyncio.sleep(max(0.0, end - loop.time()))
        await self._end(reason or f"it was not used for {self._settings.bash_idle_s:g} s")
        await trim_to_limits(self._bounded, self._settings)

    async def _stop_minding(self) -> None:
        if self._minder:
            self._minder.cancel()
            await asyncio.wait({self._minder})
            minder, self._minder = self._minder, None
            if not minder.cancelled():
                minder.result()

    async def _end(self, reason: str) -> None:
        if self._shell:
            self._lost = self._lost or reason
            await self._shell.kill()
            self._shell = None
        if self._cgroup:
            self._cgroup.remove()
            self._cgroup = None
