"""An MCP server at an address, with limits for what it may send us."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from agentlm.json_size import MAX_ITEMS, MAX_NESTED, has_too_many_values
from agentlm.tools.confinement.network import Reach
from agentlm.tools.mcp.config import McpServer
from agentlm.tools.mcp.public import PublicMcp

_BODY_BYTES = 16 * 1024 * 1024
_EVENT_STREAM = "text/event-stream"
# We report a server's faults ourselves, to those they concern; the SDK's log quotes the server.
logging.getLogger("mcp.client").setLevel(logging.CRITICAL + 1)


class TooLarge(Exception):
    """A response that does not end, or that would take more than it seems to."""


@asynccontextmanager
async def http_streams(
    server: McpServer, timeout_s: float, reach: Reach | None = None
) -> AsyncIterator[Any]:
    """The streams for the SDK's client. The SDK itself limits single events.

    `reach`: the only allowed addresses; None: any address.
    """
    assert server.url is not None
    timeout = httpx2.Timeout(timeout_s, read=None)
    inner = PublicMcp(reach) if reach else httpx2.AsyncHTTPTransport()
    transport = _Bounded(inner, streams=reach is not None)
    async with (
        httpx2.AsyncClient(
            headers=server.headers, timeout=timeout, transport=transport, trust_env=False
        ) as client,
        streamable_http_client(server.url, http_client=client) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncBaseTransport):
    """`streams`: limit streams of events too, which must not end if the server is to stay."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, *, streams: bool) -> None:
        self._inner = inner
        self._streams = streams

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # A compressed answer can be a thousand times as long as what came.
        request.headers["accept-encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise TooLarge("a compressed response, which was not asked for")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if not response.headers.get("content-type", "").lower().startswith(_EVENT_STREAM):
            response.stream = _BoundedBody(response.stream)
        elif self._streams:
            response.stream = _Counted(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    """A stream of limited length."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self._inner:
            total += len(chunk)
            if total > _BODY_BYTES:
                raise TooLarge(f"a response of more than {_BODY_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedBody(_Counted):
    """One JSON text, which is read whole; how many values it has is known before."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = b"".join([chunk async for chunk in super().__aiter__()])
        if has_too_many_values(body):
            raise TooLarge(f"a response of more than {MAX_ITEMS} items or {MAX_NESTED} lists")
        yield body
