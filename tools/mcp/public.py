"""The connection to an MCP server that a stranger named, as for the web tool: public addresses
only.

The SDK's client uses httpx2, this connection httpx, so requests and responses are converted.
Redirects are not followed, so that no header goes to another host.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import httpx2

from agentlm.tools.confinement.network import (
    NETWORK_ERRORS,
    AddressRefused,
    PublicTransport,
    Reach,
)


class PublicMcp(httpx2.AsyncBaseTransport):
    """httpx2 over `PublicTransport`."""

    def __init__(self, reach: Reach) -> None:
        self._inner = PublicTransport(reach)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. A refusal or a failure on the way is an httpx2.ConnectError."""
        handed = httpx.Request(
            request.method,
            str(request.url),
            headers=request.headers.raw,
            content=await request.aread(),
            extensions=request.extensions,
        )
        with _as_theirs():
            response = await self._inner.handle_async_request(handed)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx2.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=_Body(response.stream),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_theirs():
            async for chunk in self._inner:
                yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


@contextmanager
def _as_theirs() -> Iterator[None]:
    try:
        yield
    except (AddressRefused, httpx.HTTPError, *NETWORK_ERRORS) as error:
        raise httpx2.ConnectError(str(error) or type(error).__name__) from error
