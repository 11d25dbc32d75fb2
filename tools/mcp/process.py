"""An MCP server that we start ourselves and talk to over its standard streams.

The official SDK can do this too, but here the program's effects on us are limited: the length of a
line, the number of unrequested messages, how much of its error output is kept, and its life, which
ends with ours, together with everything that it started.
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
"""Limit for messages since our last one: more is a flood."""
_MALFORMED = 100
_END_S = 1.0

Incoming = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]


class McpProcess:
    """Runs a server's program as long as `streams` is entered."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._complaints = Capture(2_000)
        self._unasked = 0

    def complaints(self) -> str:
        """Its error output."""
        return " ".join(self._complaints.text().split())

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Streams]:
        """The streams for the SDK's client."""
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
        """Read until it ends, floods, or sends a line without end; then the connection is
        closed."""
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
    """The messages of a line: one, several (a batch), or an unreadable one."""
    try:
        return [SessionMessage(_MESSAGE.validate_json(line, by_name=False))]
    except ValueError:
        pass
    try:
        # The standard library accepts what others write, such as deep nesting; surrogates are
        # replaced.
        read = json.loads(line.decode(errors="replace"))
        messages = json.loads(json.dumps(read, ensure_ascii=False).encode(errors="replace"))
        batch = messages if isinstance(messages, list) and messages else [messages]
        return [SessionMessage(_MESSAGE.validate_python(one, by_name=False)) for one in batch]
    except (ValueError, RecursionError):
        return [Unreadable(line)]


async def _end(process: Process) -> None:
    """Close its input, which asks it to end; then kill it and its children."""
    assert process.stdin is not None
    process.stdin.close()
    with suppress(TimeoutError):
        await _ended(process)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):  # a stray child may hold its pipes open for ever
        await _ended(process)


async def _ended(process: Process) -> None:
    """Wait until it has ended, which includes reading its pipes to their end."""
    async with asyncio.timeout(_END_S):
        await asyncio.gather(process.wait(), _empty(process.stdout), _empty(process.stderr))


async def _empty(stream: asyncio.StreamReader | None) -> None:
    while stream and await stream.read(65_536):
        continue
