"""MCP servers that a request names: their tools are for that request only.

The operator decides which hosts are allowed (`mcp_hosts`); addresses follow the web tool's rules.
The headers for a server are secrets of that run.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from agentlm.errors import RequestError
from agentlm.tools.confinement.network import Reach, is_listed, network_host
from agentlm.tools.mcp.config import McpServer
from agentlm.tools.settings import ToolSettings

if TYPE_CHECKING:
    from agentlm.tools.mcp.tools import McpTool

LABEL = re.compile(r"[A-Za-z0-9_-]{1,40}")
_URL_CHARS = 2048


@dataclass(frozen=True)
class BroughtServer:
    """A server in a request."""

    label: str
    url: str
    place: str
    """Its place in the request, for errors."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allowed: frozenset[str] | None = None
    """Names of its tools that may be used; None: all."""
    read_only: bool | None = None
    """True: only tools that declare themselves as read-only."""


async def bring(server: BroughtServer, settings: ToolSettings) -> tuple[McpTool, ...]:
    """The server's usable tools. Raises RequestError if it may not or can't be asked.

    The connection is closed again: a call opens it, and the run closes it.
    """
    # Imported with the first server, since the SDK is large.
    from agentlm.tools.mcp.connection import Connection, ConnectionFailed
    from agentlm.tools.mcp.tools import offer_of

    check_address(server, settings)
    connection = Connection(
        server.label,
        McpServer(url=server.url, headers=dict(server.headers)),
        settings.tool_timeout_s,
        Reach(settings.web_private),
    )
    try:
        async with asyncio.timeout(settings.tool_timeout_s):
            offer = await offer_of(connection)
    except (ConnectionFailed, TimeoutError) as error:
        place = f"{server.place}.server_url"
        reason = str(error) or f"it took more than {settings.tool_timeout_s:g} s"
        raise RequestError(
            f"{place}: the MCP server can't be asked for its tools: {reason}",
            param=place,
            code="mcp_list_tools_failed",
        ) from error
    finally:
        await connection.rest()
    names = {tool.listed_name for tool in offer.tools}
    if missing := sorted((server.allowed or frozenset()) - names):
        place = f"{server.place}.allowed_tools"
        known = ", ".join(sorted(names)) or "none"
        raise RequestError(
            f"{place}: {server.label} has no tool {missing[0][:64]!r}; it has: {known}", param=place
        )
    return tuple(tool for tool in offer.tools if _may_be_used(tool, server))


def _may_be_used(tool: McpTool, server: BroughtServer) -> bool:
    named = server.allowed is None or tool.listed_name in server.allowed
    return named and (not server.read_only or tool.hints.read_only is True)


def check_address(server: BroughtServer, settings: ToolSettings) -> None:
    """Raises RequestError unless the operator allows MCP servers of requests there.

    The address of the name is checked when connecting.
    """
    place = f"{server.place}.server_url"

    def refused(reason: str) -> RequestError:
        return RequestError(f"{place}: {reason}", param=place)

    if not settings.mcp_hosts:
        raise refused("a request can't bring an MCP server: the operator's mcp_hosts names no host")
    if len(server.url) > _URL_CHARS:
        raise refused(f"is longer than {_URL_CHARS} characters")
    try:
        url = httpx.URL(server.url)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise refused("is not an address") from None
    host = network_host(url)
    if url.scheme not in ("http", "https") or not host:
        raise refused("must be an http or https address")
    if url.userinfo:
        raise refused("must hold no user name or password: use authorization or headers")
    if is_listed(host, settings.web_deny) or not _allowed(host, settings.mcp_hosts):
        raise refused(
            f"{host} is not a host that servers may be brought from; allowed: "
            f"{', '.join(settings.mcp_hosts)}"
        )
    port = url.port or (443 if url.scheme == "https" else 80)
    if port not in settings.web_ports:
        ports = ", ".join(map(str, settings.web_ports))
        raise refused(f"port {port} is not one that may be reached; allowed: {ports}")


def _allowed(host: str, hosts: tuple[str, ...]) -> bool:
    return "*" in hosts or is_listed(host, hosts)
