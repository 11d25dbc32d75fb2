"""An MCP server at an address, with limits for what it may send us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from agentlm.tools.confinement.network import Reach
from agentlm.tools.mcp.config import McpServer
from agentlm.tools.mcp.public import PublicMcp

_BODY_BYTES = 16 * 1024 * 1024
_EVENT_STREAM = "text/event-stream"


class TooLong(Exception):
    """A response that does not end."""


@asynccontextmanager
async def http_streams(
    server: McpServer, timeout_s: float, reach: Reach | None = None
) -> AsyncIterator[Any]:
    """The streams for the SDK's client. The SDK itself limits single events.

    `reach`: the only allowed addresses; None: any address.
    """
    assert server.url is not None
    timeout = httpx2.Timeout(timeout_s, read=None)
    transport = _Bounded(PublicMcp(reach) if reach else httpx2.AsyncHTTPTransport())
    async with (
        httpx2.AsyncClient(
            headers=server.headers, timeout=timeout, transport=transport, trust_env=False
        ) as client,
        streamable_http_client(server.url, http_client=client) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncBaseTransport):
    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        if not response.headers.get("content-type", "").startswith(_EVENT_STREAM):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _BoundedBody(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedBody(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self._inner:
            total += len(chunk)
            if total > _BODY_BYTES:
                raise TooLong(f"a response of more than {_BODY_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
