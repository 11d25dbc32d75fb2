"""An MCP server that we start ourselves, spoken to over its standard streams.

The official SDK can do this too; here, what the program may do to us is bounded: the length of a
line, the number of messages that nobody asked for, what is kept of its complaints, and its life,
which ends with ours and takes along all that it started.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from agentlm.tools.mcp.answers import Unreadable
from agentlm.tools.mcp.config import McpServer
from agentlm.tools.observation import Capture

_LINE_BYTES = 8 * 1024 * 1024
_UNASKED = 5_000
"""Messages since we last wrote: more is a flood."""
_MALFORMED = 100
_END_S = 1.0

Incoming = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]


class McpProcess:
    """Starts a server's program for as long as `streams` is entered."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._complaints = Capture(2_000)
        self._unasked = 0

    def complaints(self) -> str:
        """What it wrote to its error stream."""
        return " ".join(self._complaints.text().split())

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Streams]:
        """What the SDK's client talks through."""
        process = await self._start()
        arriving, received = anyio.create_memory_object_stream[Incoming](0)
        sent, leaving = anyio.create_memory_object_stream[SessionMessage](0)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read, process, arriving)
                tasks.start_soon(self._write, process, leaving)
                tasks.start_soon(self._listen, process)
                try:
                    yield received, sent
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            for stream in (arriving, received, sent, leaving):
                stream.close()
            await _end(process)

    async def _start(self) -> Process:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        assert self._server.command is not None
        return await asyncio.create_subprocess_exec(
            *(self._server.command, *self._server.args),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**inherited, **self._server.env},
            cwd=self._server.cwd,
            limit=_LINE_BYTES,
            start_new_session=True,
        )

    async def _read(self, process: Process, arriving: MemoryObjectSendStream[Incoming]) -> None:
        """Until it ends, floods, or writes a line without end: then the connection is closed."""
        assert process.stdout is not None
        malformed = 0
        with arriving, suppress(ValueError, ConnectionError, anyio.BrokenResourceError):
            while line := await process.stdout.readline():
                self._unasked += 1
                messages = _parsed(line)
                malformed += any(isinstance(message, Exception) for message in messages)
                if self._unasked > _UNASKED or malformed > _MALFORMED:
                    return
                for message in messages:
                    await arriving.send(message)

    async def _write(
        self, process: Process, leaving: MemoryObjectReceiveStream[SessionMessage]
    ) -> None:
        assert process.stdin is not None
        with leaving, suppress(ConnectionError):
            async for item in leaving:
                self._unasked = 0
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode() + b"\n")
                await process.stdin.drain()

    async def _listen(self, process: Process) -> None:
        assert process.stderr is not None
        while data := await process.stderr.read(65_536):
            self._complaints.feed(data)


_MESSAGE = mcp_types.jsonrpc_message_adapter
_INHERITED = ("PATH", "HOME", "LANG")


def _parsed(line: bytes) -> list[Incoming]:
    """The messages of a line: one, several (a batch), or what is none."""
    try:
        return [SessionMessage(_MESSAGE.validate_json(line, by_name=False))]
    except ValueError:
        pass
    try:
        # The standard library takes what others write: depth, and halves of characters, made whole
        read = json.loads(line.decode(errors="replace"))
        found = json.loads(json.dumps(read, ensure_ascii=False).encode(errors="replace"))
        batch = found if isinstance(found, list) and found else [found]
        return [SessionMessage(_MESSAGE.validate_python(one, by_name=False)) for one in batch]
    except (ValueError, RecursionError):
        return [Unreadable(line)]


async def _end(process: Process) -> None:
    """Close its input, which asks it to end; then end it and what it started."""
    assert process.stdin is not None
    process.stdin.close()
    with suppress(TimeoutError):
        await _ended(process)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):  # a stray child may hold its pipes open for ever
        await _ended(process)


async def _ended(process: Process) -> None:
    """Wait for it to end. It counts as ended only when its pipes are read empty."""
    async with asyncio.timeout(_END_S):
        await asyncio.gather(process.wait(), _empty(process.stdout), _empty(process.stderr))


async def _empty(stream: asyncio.StreamReader | None) -> None:
    while stream and await stream.read(65_536):
        continue
