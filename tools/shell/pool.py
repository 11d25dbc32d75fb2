"""The sandboxes of all trajectories: few shells live at once, some are started ahead of need."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
import uuid
from collections import OrderedDict
from pathlib import Path

from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.sandbox import Sandbox
from agentlm.tools.shell.shell import ShellError
from agentlm.tools.shell.workspace import remove_whole

_log = logging.getLogger(__name__)
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_SPARE = ".spare-"
_TIDY_PERIOD_S = 3600.0


class Shells:
    """Sandboxes by trajectory. At most `bash_shells` of them run a command at once."""

    def __init__(self, settings: ToolSettings) -> None:
        self._settings = settings
        self._used: OrderedDict[str, Sandbox] = OrderedDict()
        self._spares: list[Sandbox] = []
        self._filling: asyncio.Task[None] | None = None
        self._tidied_at = -_TIDY_PERIOD_S
        unsafe = settings.bash_sandbox == "unsafe"  # a moved directory would change its name there
        self._wanted_spares = 0 if unsafe else settings.bash_spares
        self.slots = asyncio.Semaphore(settings.bash_shells)
        """To be held while a command runs."""

    async def open(self) -> None:
        """Start a shell, and the spare ones. Raises ShellError or OSError if that can't be done."""
        for name in _leftovers(self._settings.sandboxes_dir()):
            await self._sandbox(name).remove()
        await self._fill(max(1, self._wanted_spares))
        if not self._wanted_spares:
            await self._drop_spares()

    async def _fill(self, count: int) -> None:
        for spare in [spare for spare in self._spares if not spare.alive]:
            await self._drop(spare)
        while len(self._spares) < count:
            spare = self._sandbox(_spare_name())
            self._spares.append(spare)
            await spare.warm()

    async def get(self, trajectory_id: str) -> Sandbox:
        """The trajectory's sandbox, now the most recently used one."""
        known = self._used.get(trajectory_id)
        if not (known and known.alive):
            await self._make_room_for(trajectory_id)
        if trajectory_id not in self._used:
            self._used[trajectory_id] = self._spare_or_new(trajectory_id)
        self._used.move_to_end(trajectory_id)
        return self._used[trajectory_id]

    async def release(self, trajectory_id: str) -> None:
        """End the trajectory's shell and remove its files."""
        sandbox = self._used.pop(trajectory_id, None) or self._sandbox(checked(trajectory_id))
        await sandbox.end("it was released")
        await sandbox.remove()

    async def settle(self, trajectory_id: str) -> None:
        """End the trajectory's shell with all that it started; its files stay."""
        if sandbox := self._used.pop(trajectory_id, None):
            await sandbox.end("it was ended")

    async def copy(self, trajectory_id: str, copy_id: str) -> None:
        """Give another trajectory a copy of the files."""
        sandboxes = self._settings.sandboxes_dir()
        source, copy = (str(sandboxes / checked(name)) for name in (trajectory_id, copy_id))
        process = await asyncio.create_subprocess_exec("cp", "-a", "--", source, copy)
        if await process.wait():
            raise OSError(f"the files of {trajectory_id} could not be copied")
        await asyncio.to_thread(_unread, Path(source), Path(copy))

    async def close(self) -> None:
        """End every shell; the files of trajectories stay."""
        if self._filling:
            self._filling.cancel()
            await asyncio.wait({self._filling})
        await asyncio.gather(*(box.end("the server was stopped") for box in self._used.values()))
        await self._drop_spares()

    def _spare_or_new(self, trajectory_id: str) -> Sandbox:
        directory = self._settings.sandboxes_dir() / checked(trajectory_id)
        if directory.exists():
            return Sandbox(directory, self._settings)
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._refill())
        spare = next((spare for spare in self._spares if spare.alive), None)
        if spare is None:
            return Sandbox(directory, self._settings)
        self._spares.remove(spare)
        spare.move(directory)
        return spare

    async def _drop_spares(self) -> None:
        while self._spares:
            await self._drop(self._spares[0])

    async def _drop(self, spare: Sandbox) -> None:
        self._spares.remove(spare)
        await spare.end("it was not needed")
        await spare.remove()

    async def _refill(self) -> None:
        try:
            await self._fill(self._wanted_spares)
        except (ShellError, OSError) as error:
            _log.warning("no shell could be started ahead of need: %s", error)
        if time.monotonic() - self._tidied_at >= _TIDY_PERIOD_S:
            self._tidied_at = time.monotonic()
            try:
                await self.tidy()
            except OSError as error:
                _log.warning("work directories could not be tidied: %s", error)

    async def tidy(self) -> None:
        """Remove the work directories that nobody has used for long."""
        sandboxes, keep_s = self._settings.sandboxes_dir(), 3600 * self._settings.bash_keep_h
        for name in await asyncio.to_thread(_outdated, sandboxes, keep_s):
            known = self._used.get(name)
            if not (known and (known.alive or known.busy)):
                self._used.pop(name, None)
                gone = self._sandbox(name)
                gone.move(sandboxes / _spare_name())  # at once; a conversation may begin it anew
                await gone.remove()

    async def _make_room_for(self, trajectory_id: str) -> None:
        """Forget others without a shell; end the shell of the least recently used one."""
        others = {key: box for key, box in self._used.items() if key != trajectory_id}
        for key, sandbox in others.items():
            if not (sandbox.alive or sandbox.busy):
                del self._used[key]
        alive = [sandbox for sandbox in others.values() if sandbox.alive]
        idle = [sandbox for sandbox in alive if not sandbox.busy]
        if idle and len(alive) >= self._settings.bash_shells:
            await idle[0].end("other conversations needed the room")

    def _sandbox(self, name: str) -> Sandbox:
        return Sandbox(self._settings.sandboxes_dir() / name, self._settings)


def checked(trajectory_id: str) -> str:
    """The id, fit to name a directory. Raises ValueError if it is not."""
    if not _SAFE_ID.fullmatch(trajectory_id):
        raise ValueError(f"not a trajectory id: {trajectory_id!r}")
    return trajectory_id


def remove_work_directory(sandboxes: Path, trajectory_id: str) -> None:
    """Remove what a trajectory left, if it left anything. A name that no shell can have had is no
    error."""
    directory = sandboxes / trajectory_id
    if _SAFE_ID.fullmatch(trajectory_id) and directory.exists():
        remove_whole(directory)


def _spare_name() -> str:
    return f"{_SPARE}{os.getpid()}-{uuid.uuid4().hex}"


def _unread(source: Path, copy: Path) -> None:
    """Restore the access times of the files that were read for the copy."""
    for path in copy.rglob("*"):
        status = path.lstat()
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(source / path.relative_to(copy), ns=times, follow_symlinks=False)


def _outdated(sandboxes: Path, keep_s: float) -> list[str]:
    """Work directories that were last used more than `keep_s` seconds ago."""
    oldest = time.time() - keep_s
    directories = (path for path in sandboxes.iterdir() if not path.name.startswith(_SPARE))
    return [path.name for path in directories if path.stat().st_mtime < oldest]


def _leftovers(sandboxes: Path) -> list[str]:
    """Spares of servers that were killed."""
    names = [path.name for path in sandboxes.glob(f"{_SPARE}*")]
    return [name for name in names if not Path("/proc", name.split("-")[1]).exists()]
