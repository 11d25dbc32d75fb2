"""A connection to one MCP server. If it breaks, it is made again, with growing pauses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import httpx2
import mcp_types
from mcp import Client, MCPError
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from agentlm.agent.tool import ToolError
from agentlm.tools.confinement.network import Reach
from agentlm.tools.mcp.answers import MOST_TOOLS, Answers
from agentlm.tools.mcp.config import McpServer
from agentlm.tools.mcp.http import TooLarge, http_streams
from agentlm.tools.mcp.process import McpProcess
from agentlm.tools.mcp.stream import Watched

_log = logging.getLogger(__name__)
_START_TIMEOUT_S = 30.0
_PROBE_TIMEOUT_S = 2.0
_CLOSE_TIMEOUT_S = 10.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_PAGES = 20
_COMPLAINT_CHARS = 500
_REASON_CHARS = 500
_BROKEN = (
    MCPError,
    ExceptionGroup,
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    TooLarge,
    httpx2.HTTPError,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
)
"""Exceptions of the SDK if the other side violates the protocol."""


class ConnectionFailed(Exception):
    """The server can't be reached; the message says why."""


class Connection:
    """One server. The SDK's client lives in its own task, from which calls borrow it."""

    def __init__(
        self, name: str, server: McpServer, timeout_s: float, reach: Reach | None = None
    ) -> None:
        """`reach` limits the addresses of a server that the operator did not configure."""
        self.name = name
        self._reach = reach
        self._server = server
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._pause_s = _FIRST_PAUSE_S
        self._retry_at = 0.0
        self._answers = Answers()

    @property
    def refused(self) -> dict[str, str]:
        """Listed tools that can't be offered, with the reasons."""
        return self._answers.refused

    async def tools(self) -> list[mcp_types.Tool]:
        """The server's tools. Raises ConnectionFailed."""
        client = await self._connected()
        listed: list[mcp_types.Tool] = []
        cursor = None
        try:
            for _ in range(_PAGES):
                page = await client.list_tools(cursor=cursor)
                listed += page.tools
                cursor = page.next_cursor
                if not cursor or len(listed) >= MOST_TOOLS:
                    break
        except _BROKEN as error:
            await self.close()
            raise ConnectionFailed(f"{self.name}: {_reason(error)}") from error
        return listed

    async def call(self, tool: str, arguments: dict[str, Any]) -> mcp_types.CallToolResult:
        """Call a tool. Raises ToolError if the tool or the server fails."""
        try:
            client = await self._connected()
        except ConnectionFailed as error:
            raise ToolError(f"the server {self.name} is not available: {error}") from error
        try:
            result = await client.call_tool(tool, arguments, read_timeout_seconds=self._timeout_s)
        except MCPError as error:
            await self._check(client, error)
            raise ToolError(_reason(error)) from error
        except (ValidationError, RuntimeError) as error:
            # The connection works, but what it delivered is not a result.
            raise ToolError(f"{tool} gave a result that can't be read: {_reason(error)}") from error
        except _BROKEN as error:
            await self._broke(client)
            raise ToolError(f"the server {self.name} failed: {_reason(error)}") from error
        self._pause_s = _FIRST_PAUSE_S
        return result

    async def close(self) -> None:
        """End the connection, and the server if we started it. Idempotent."""
        keeper, self._keeper, self._client = self._keeper, None, None
        if keeper:
            keeper.cancel()
            await asyncio.wait({keeper}, timeout=_CLOSE_TIMEOUT_S)

    async def rest(self) -> None:
        """Close a working connection. The next call opens it again without a pause."""
        await self.close()
        self._retry_at, self._pause_s = 0.0, _FIRST_PAUSE_S

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client and self._keeper and not self._keeper.done():
                return self._client
            loop = asyncio.get_running_loop()
            if loop.time() < self._retry_at:
                wait_s = self._retry_at - loop.time()
                raise ConnectionFailed(f"it broke; it is tried again in {wait_s:.0f} s")
            self._retry_at = loop.time() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            await self.close()
            self._client = await self._connect()
            return self._client

    async def _connect(self) -> Client:
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        process = McpProcess(self._server) if self._server.command else None
        self._keeper = keeper = asyncio.create_task(self._keep(process, ready))
        keeper.add_done_callback(self._ended)
        first: set[asyncio.Future[Any]] = {ready, keeper}
        await asyncio.wait(first, timeout=_START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            return ready.result()
        reason = _reason(keeper.exception()) if keeper.done() else "it did not answer in time"
        await self.close()
        complaints = process.complaints()[-_COMPLAINT_CHARS:] if process else ""
        raise ConnectionFailed(f"{self.name}: {reason} {complaints}".strip())

    async def _keep(self, process: McpProcess | None, ready: asyncio.Future[Client]) -> None:
        """Hold the client open until cancelled: it has to end in the task where it began."""
        streams: AbstractAsyncContextManager[Any] = (
            process.streams()
            if process
            else http_streams(self._server, self._timeout_s, self._reach)
        )
        async with Client(self._watched(streams), cache=None) as client:
            ready.set_result(client)
            await asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def _watched(self, streams: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        async with streams as (received, sent):
            yield Watched(received, self._answers.arrived), _Noting(sent, self._answers)

    def _ended(self, keeper: asyncio.Task[None]) -> None:
        error = None if keeper.cancelled() else keeper.exception()
        if (
            error and self._reach is None
        ):  # the words of any other server are for whoever brought it, not for our log
            _log.warning("the MCP server %s broke: %s", self.name, _reason(error))

    async def _check(self, client: Client, error: MCPError) -> None:
        """After an error that may be the connection's, check whether the server is still there."""
        if error.code == mcp_types.REQUEST_TIMEOUT:
            try:
                async with asyncio.timeout(_PROBE_TIMEOUT_S):
                    await client.list_tools()
            except _BROKEN:
                await self._broke(client)
        elif error.code == mcp_types.CONNECTION_CLOSED:
            await self._broke(client)

    async def _broke(self, client: Client) -> None:
        if self._client is client:
            await self.close()


class _Noting:
    """A stream whose messages are noted as they are sent."""

    def __init__(self, inner: Any, answers: Answers) -> None:
        self._inner = inner
        self._answers = answers

    async def send(self, item: SessionMessage) -> None:
        self._answers.sent(item)
        await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> _Noting:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()


def _reason(error: BaseException | None) -> str:
    """The innermost message of a group of errors, on one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split())[:_REASON_CHARS] or type(error).__name__
