"""HTTP to public addresses only, whatever a name, a redirect or a resolver returns.

The check is made where the connection is made: a name is resolved here, all its addresses are
checked, and the socket is opened to one of exactly these addresses. There is no second look-up that
could give another result, and every spelling of an address becomes the same few bytes. TLS still
verifies the name. Proxies of the environment are not used, because they would resolve names
themselves.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import httpcore
import httpx

Network = IPv4Network | IPv6Network

_NOT_PUBLIC = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        # All of IPv6 but what is assigned to the public, and of that what embeds an IPv4 address
        *("::/3", "4000::/2", "8000::/1", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
]


NETWORK_ERRORS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)
"""Errors of a connection, besides those of httpx itself."""


@cache
def plain_host(name: str) -> str:
    """A host's name as the network knows it, however it is spelt; unchanged if it is no such
    name."""
    try:
        return network_host(httpx.URL(f"http://{name}"))
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return name.lower()


def network_host(url: httpx.URL) -> str:
    """The host that a URL leads to. (`url.host` fails where punycode is none.)"""
    return url.raw_host.decode("ascii").rstrip(".").lower()


def is_listed(host: str, names: Iterable[str]) -> bool:
    """Whether a host, as the network knows it, is one of the names or below one of them."""
    return any(host == name or host.endswith(f".{name}") for name in map(plain_host, names))


class AddressRefused(Exception):
    """The name leads to an address that is not public."""


class Reach:
    """Which addresses may be connected to: public ones, and private ones named by the operator."""

    def __init__(self, private: Iterable[str] = ()) -> None:
        self._private: list[Network] = [ip_network(text, strict=False) for text in private]

    def is_private(self, address: str) -> bool:
        """Whether the address is in a network that the operator opened."""
        ip = ip_address(address.partition("%")[0])
        return any(ip in network for network in self._private)

    def allows(self, address: str) -> bool:
        """Whether a socket to this address may be opened."""
        ip = ip_address(address.partition("%")[0])
        return self.is_private(address) or not any(ip in network for network in _NOT_PUBLIC)


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Opens sockets only to addresses that `reach` allows."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the interface's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve the name, check every address, and connect to the first that answers."""
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in await self._addresses(host, port):
            try:
                stream = await self._sockets.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            if self._is_ourselves(stream):
                await stream.aclose()
                raise AddressRefused(f"{host} is this machine")
            return stream
        raise failure

    async def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        """Refused: there is no path to this machine's own sockets."""
        raise AddressRefused("sockets of this machine are not reachable")

    async def sleep(self, seconds: float) -> None:
        """Between retries."""
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        try:
            resolved = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} can't be resolved") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in resolved))
        for address in addresses:
            if not self._reach.allows(address):
                raise AddressRefused(f"{host} is not a public address")
        return addresses

    def _is_ourselves(self, stream: httpcore.AsyncNetworkStream) -> bool:
        """A public address can be this machine's own: then both ends of the connection are the
        same."""
        ours, theirs = stream.get_extra_info("client_addr"), stream.get_extra_info("server_addr")
        return ours[0] == theirs[0] and not self._reach.is_private(theirs[0])


class PublicTransport(httpx.AsyncBaseTransport):
    """httpx over `PublicNetwork`."""

    def __init__(self, reach: Reach) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            network_backend=PublicNetwork(reach),
            max_connections=64,
            max_keepalive_connections=16,
            keepalive_expiry=15.0,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; its body is streamed as it comes, undecoded."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        response = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.aiter_stream():
            yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()
