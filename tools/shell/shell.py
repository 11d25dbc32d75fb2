"""One bash kept alive: commands go in on a socket, their exit codes come back on it, and everything
they print is read from a pipe.

A command is evaluated by the living shell itself, so its directory, variables, functions and
background jobs are there for the next. Commands don't hold the socket, and unlike a pipe it can't
be opened through /proc: nothing they print can pass for an exit code. What a command wrote before
it ended is in the output pipe when its exit code arrives; so the output is complete without markers
and without waiting.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import termios
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from agentlm.tools.observation import Capture
from agentlm.tools.shell.bubblewrap import Launch
from agentlm.tools.shell.process_tree import TreeUsage, children, tree_usage

_DRIVER = """
exec 3<&0 4>&0 </dev/null 2>&1
builtin printf '0\\0' >&4
while IFS= builtin read -r -d '' -u 3 AGENTLM_COMMAND; do
  builtin eval "$AGENTLM_COMMAND" 3<&- 4>&-
  builtin printf '%s\\0' "$?" >&4
done
"""
PROGRAM = ["bash", "--norc", "--noprofile", "-c", _DRIVER, "bash"]

_START_TIMEOUT_S = 10.0
_WATCH_PERIOD_S = 0.1
_READ_BYTES = 65_536
_STATUS = re.compile(rb"[0-9]{1,3}")
_STATUS_BYTES = 4


class ShellError(Exception):
    """The shell could not be started; the text is what its programs said."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What stops a command, and with it the whole shell."""

    deadline_s: float
    output_bytes: int
    """Kept of the output; what is between the first and the last half of it is counted only."""
    flood_bytes: int
    """Output beyond this stops the command."""
    excess: Callable[[], Awaitable[str | None]]
    """Asked ten times a second: why the command has to stop, or None."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    output: str
    exit_code: int | None
    """None if it was stopped."""
    stopped: str | None = None
    """Why it was stopped, in words."""
    shell_ended: bool = False
    """The shell is gone, and with it its variables and background jobs."""


class Shell:
    """A living bash. One command at a time."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.pid = process.pid
        """Root of the tree of all its processes."""
        self._process = process
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._output = _unblocked(process.stdout)
        self._complaints = _unblocked(process.stderr)
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._killed = False
        self._exit = os.pidfd_open(process.pid)
        self._loop.add_reader(self._exit, self._on_exit)
        self._idle_processes = 0

    @classmethod
    async def start(cls, launch: Launch, directory: Path) -> Shell:
        """Launch a command that ends in `PROGRAM`. Raises ShellError with what it printed.

        To be called from the thread of the event loop: a sandbox dies with the thread that
        started it.
        """
        shell = cls(*_spawn(launch, directory))
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                said = await shell._read_status()
        except BaseException as error:
            await shell.kill()
            if isinstance(error, TimeoutError):
                raise ShellError(f"it did not start within {_START_TIMEOUT_S:g} s") from error
            raise
        if said != b"0":
            complaints = (_read(shell._complaints) or b"").decode(errors="replace").strip()
            await shell.kill()
            raise ShellError(complaints or "it ended at once")
        shell._idle_processes = shell.usage().processes
        return shell

    @property
    def alive(self) -> bool:
        """False once its process has ended or is being killed."""
        return not (self._killed or self._ended.done())

    def usage(self) -> TreeUsage:
        """What its processes use at this moment."""
        return tree_usage(self.pid)

    def has_background_jobs(self) -> bool:
        """Between commands: whether processes other than the shell itself are left."""
        return self.usage().processes > self._idle_processes

    async def run(self, command: str, bounds: Bounds) -> Finished:
        """Evaluate a command. Out of bounds, or if the caller is cancelled, the tree is killed."""
        capture = Capture(bounds.output_bytes)
        flooded = self._loop.create_future()

        def read_output() -> None:
            capture.feed(_read(self._output) or b"")
            if capture.total > bounds.flood_bytes and not flooded.done():
                flooded.set_result(None)

        self._loop.add_reader(self._output, read_output)
        status = asyncio.ensure_future(self._exchange(command))
        try:
            stopped = await self._watch(status, flooded, bounds)
            if stopped or not status.done():
                await self._kill_tree()
        except BaseException:
            await self.kill()
            raise
        finally:
            self._loop.remove_reader(self._output)
            status.cancel()
        self._drain(capture)
        if not self.alive:
            await self.kill()
            code = None if stopped else self._process.returncode
            return Finished(capture.text(), code, stopped, shell_ended=True)
        return Finished(capture.text(), int(status.result()))

    async def kill(self) -> None:
        """End the shell and every process it ever started. Idempotent."""
        await self._kill_tree()
        for end in (self._control, self._process.stdout, self._process.stderr):
            if end:
                end.close()

    async def _kill_tree(self) -> None:
        self._killed = True
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            for pid in children(self.pid):  # the namespace's first process: all others die with it
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await asyncio.shield(self._ended)

    async def _watch(
        self, status: asyncio.Future[bytes], flooded: asyncio.Future[None], bounds: Bounds
    ) -> str | None:
        """Wait for the exit code or the shell's end. Returns why it has to be stopped, if so."""
        end = self._loop.time() + bounds.deadline_s
        events: set[asyncio.Future[Any]] = {status, flooded, self._ended}
        while True:
            await asyncio.wait(
                events,
                timeout=max(0.0, min(end - self._loop.time(), _WATCH_PERIOD_S)),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if status.done() or self._ended.done():
                return None
            if flooded.done():
                return f"it wrote more than {bounds.flood_bytes} bytes"
            if self._loop.time() >= end:
                return f"it did not finish within {bounds.deadline_s:g} s"
            if reason := await bounds.excess():
                return reason

    async def _exchange(self, command: str) -> bytes:
        await self._loop.sock_sendall(self._control, command.encode() + b"\0")
        status = await self._read_status()
        if not _STATUS.fullmatch(status):
            await self._ended
        return status

    async def _read_status(self) -> bytes:
        """The driver's next message; nothing if it is gone, or says what is none."""
        said = b""
        while len(said) < _STATUS_BYTES:
            data = await self._loop.sock_recv(self._control, _STATUS_BYTES - len(said))
            said += data
            if not data or said.endswith(b"\0"):
                return said[:-1]
        return b""

    def _drain(self, capture: Capture) -> None:
        """Read what is in the pipe now; background jobs may go on writing to it."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._output, termios.FIONREAD, waiting)
        left = waiting[0]
        while left > 0 and (data := _read(self._output, left)):
            capture.feed(data)
            left -= len(data)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._exit)
        os.close(self._exit)
        self._process.wait()
        self._ended.set_result(None)


def _spawn(launch: Launch, directory: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory)}
    with theirs, contextlib.closing(launch), contextlib.ExitStack() as failed:
        failed.callback(ours.close)
        process = subprocess.Popen(
            launch.argv,
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=environment,
            start_new_session=True,
            pass_fds=launch.fds,
        )
        failed.pop_all()
    return process, ours


def _unblocked(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    os.set_blocking(pipe.fileno(), False)
    return pipe.fileno()


def _read(fd: int, limit: int = _READ_BYTES) -> bytes | None:
    """What is there; nothing at the end of the stream; None if nothing is there yet."""
    try:
        return os.read(fd, limit)
    except BlockingIOError:
        return None
