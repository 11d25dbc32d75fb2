"""One bash kept alive: commands go in on a socket, their exit codes come back on another, and
everything they print is read from a pipe.

`driver` tells who evaluates a command and why nobody can forge its exit code. What a command wrote
before it ended is in the output pipe when its exit code arrives; so the output is complete without
markers and without waiting.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
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

_START_TIMEOUT_S = 10.0
_KILL_TIMEOUT_S = 10.0
_WATCH_PERIOD_S = 0.1
_READ_BYTES = 65_536
_WAITING = 2
"""Processes of a shell that waits: the keeper and its bash."""
_STATUS_BYTES = 32
_COMPLAINT_BYTES = 4_096


class ShellError(Exception):
    """The shell could not be started; the text is what its programs said."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What stops a command, and with it the whole shell."""

    deadline_s: float
    output_bytes: int
    """How much output is kept, its first and its last half; the bytes between are only counted."""
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

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        commands: socket.socket,
        codes: socket.socket,
        *,
        contained: bool,
    ) -> None:
        self.pid = process.pid
        """Root of the tree of all its processes."""
        self._process = process
        self._commands = commands
        self._codes = codes
        self._contained = contained
        self._number = 0
        self._loop = asyncio.get_running_loop()
        self._output = _unblocked(process.stdout)
        self._ended = self._end_of(process.pid)
        self._ended.add_done_callback(lambda _: process.wait())
        self._emptied: asyncio.Future[None] | None = None
        """When the namespace's first process has ended, and with it all others."""
        self._killed = False

    @classmethod
    async def start(cls, launch: Launch, directory: Path) -> Shell:
        """Launch a command that ends in `driver`. Raises ShellError with what it printed.

        To be called from the thread of the event loop: a sandbox dies with the thread that
        started it.
        """
        shell = cls(*_spawn(launch, directory), contained=launch.contained)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                complaints = await shell._until_ready()
        except BaseException as error:
            await shell.kill()
            if isinstance(error, TimeoutError):
                raise ShellError(f"it did not start within {_START_TIMEOUT_S:g} s") from error
            raise
        if complaints is not None:
            await shell.kill()
            raise ShellError(complaints or "it ended at once")
        if first := shell.first:
            with contextlib.suppress(ProcessLookupError):
                shell._emptied = shell._end_of(first)
        return shell

    @property
    def alive(self) -> bool:
        """False once its process has ended or is being killed."""
        return not (self._killed or self._ended.done())

    @property
    def first(self) -> int | None:
        """The first process of the sandbox's own namespaces; None without them, or at its end."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return next(iter(children(self.pid)), None) if self._contained else None
        return None

    def usage(self) -> TreeUsage:
        """What its processes use at this moment."""
        return tree_usage(self.pid)

    def has_background_jobs(self) -> bool:
        """Between commands: whether processes other than the shell itself are left."""
        if not self._contained:
            return self.usage().processes > _WAITING
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # whatever loses its parent becomes a child of the keeper, as is the bash that waits
            return self.first is not None and len(children(self.first)) > 1
        return False

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
        return Finished(capture.text(), status.result())

    async def kill(self) -> None:
        """End the shell and every process it ever started. Idempotent."""
        await self._kill_tree()
        for end in (self._commands, self._codes, self._process.stdout):
            if end:
                end.close()

    async def _kill_tree(self) -> None:
        self._killed = True
        if not self._ended.done():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                for pid in children(self.pid):  # the namespace's first process
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        ends = {self._ended, *([self._emptied] if self._emptied else [])}
        await asyncio.wait(ends, timeout=_KILL_TIMEOUT_S)

    async def _watch(
        self, status: asyncio.Future[int], flooded: asyncio.Future[None], bounds: Bounds
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

    async def _until_ready(self) -> str | None:
        """None once the shell takes commands; its output if it never does."""
        words = b""
        while data := await self._loop.sock_recv(self._codes, _COMPLAINT_BYTES):
            words = (words + data)[-_COMPLAINT_BYTES:]
            if words.endswith(b"\0"):
                return None
        return words.decode(errors="replace").strip()

    async def _exchange(self, command: str) -> int:
        """The exit code that arrives with the command's number. Waits for ever if none arrives."""
        self._number += 1
        text = f"{command}\0\0".encode()
        with contextlib.suppress(ConnectionError):
            await self._loop.sock_sendall(self._commands, text)
            line = await self._loop.sock_recv(self._codes, _STATUS_BYTES)
            number, _, code = line.partition(b" ")
            if line.endswith(b"\n") and int(number) == self._number:
                return int(code)
        await self._ended
        raise ConnectionError("the shell has ended")

    def _drain(self, capture: Capture) -> None:
        """Read what is in the pipe now; background jobs may go on writing to it."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._output, termios.FIONREAD, waiting)
        left = waiting[0]
        while left > 0 and (data := _read(self._output, left)):
            capture.feed(data)
            left -= len(data)

    def _end_of(self, pid: int) -> asyncio.Future[None]:
        """Done when the process has ended. Raises ProcessLookupError if it is gone."""
        end, exit_of = self._loop.create_future(), os.pidfd_open(pid)

        def note() -> None:
            self._loop.remove_reader(exit_of)
            os.close(exit_of)
            end.set_result(None)

        self._loop.add_reader(exit_of, note)
        return end


_DEFAULT_SIGNALS = ("env", "--default-signal=HUP,INT,QUIT,TERM,PIPE")
"""Before a shell: a server that was started by nohup, or in the background of a script, ignores
some of these, and what a shell inherits as ignored it can neither receive nor trap."""


def _spawn(
    launch: Launch, directory: Path
) -> tuple[subprocess.Popen[bytes], socket.socket, socket.socket]:
    commands, reader = socket.socketpair()
    codes, writer = socket.socketpair()
    commands.setblocking(False)
    codes.setblocking(False)
    reader.shutdown(socket.SHUT_WR)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory)}
    with reader, writer, contextlib.closing(launch), contextlib.ExitStack() as failed:
        failed.callback(commands.close)
        failed.callback(codes.close)
        process = subprocess.Popen(
            [*_DEFAULT_SIGNALS, *launch.argv],
            stdin=reader.fileno(),
            stdout=subprocess.PIPE,
            stderr=writer.fileno(),
            cwd=directory,
            env=environment,
            start_new_session=True,
            pass_fds=launch.fds,
        )
        failed.pop_all()
    return process, commands, codes


def _unblocked(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    os.set_blocking(pipe.fileno(), False)
    return pipe.fileno()


def _read(fd: int, limit: int = _READ_BYTES) -> bytes | None:
    """The bytes that are there now: none at the end of the stream, None if none are there yet."""
    try:
        return os.read(fd, limit)
    except BlockingIOError:
        return None
