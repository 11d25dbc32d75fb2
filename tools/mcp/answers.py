"""Check what an MCP server sends before the SDK's client reads it.

The client accepts a list of tools completely or not at all, and waits until its timeout for an
answer that it could not read. So both are checked first: an invalid tool is left out by name, and
an unreadable answer to a request is an error at once.
"""

from __future__ import annotations

import re
from typing import Any

from mcp.shared.message import SessionMessage
from mcp_types import (
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from agentlm.tools.mcp.schema import SchemaRefused, listed_tool
from agentlm.tools.mcp.stream import Item

MOST_TOOLS = 1_000
"""Tools of a server that are looked at."""
_OPEN = 1_000
_CANCELLED = "notifications/cancelled"
_ID = re.compile(rb'"id"\s{0,9}:\s{0,9}"?(\d{1,15})')
_SHOWN_CHARS = 80


class Unreadable(ValueError):
    """A line that is not a message; `line` is what came."""

    def __init__(self, line: bytes) -> None:
        super().__init__(f"{line[:_SHOWN_CHARS]!r} is no message")
        self.line = line


class Answers:
    """Checks both directions of one connection."""

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        """For each listed tool that is left out, the reason."""
        self._open: dict[RequestId, str] = {}
        """The methods of requests that wait for an answer."""

    def sent(self, item: SessionMessage) -> None:
        """Remember a request until it is answered or abandoned."""
        message = item.message
        if isinstance(message, JSONRPCRequest):
            self._open[message.id] = message.method
            if len(self._open) > _OPEN:
                self._open.pop(next(iter(self._open)))
        elif isinstance(message, JSONRPCNotification) and message.method == _CANCELLED:
            self._open.pop((message.params or {}).get("requestId", ""), None)

    async def arrived(self, item: Item) -> Item | None:
        """The item that the client should get instead."""
        if isinstance(item, Unreadable):
            request = self._request_of(item.line)
            return item if request is None else self._failure(request, str(item))
        if isinstance(item, Exception):
            return item
        message = item.message
        if isinstance(message, JSONRPCError) and message.id is None:
            request = self._only()
            return item if request is None else self._failure(request, message.error.message)
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            method = self._open.pop(message.id, None) if message.id is not None else None
            if method == "tools/list" and isinstance(message, JSONRPCResponse):
                message.result = self._listing(message.result)
        return item

    def _request_of(self, line: bytes) -> RequestId | None:
        """The request that an unreadable line was meant to answer; None if it is a program's other
        output."""
        if not line.lstrip().startswith((b"{", b"[")):
            return None
        named = {int(digits) for digits in _ID.findall(line)} & self._open.keys()
        if named and any(word in line for word in (b'"jsonrpc"', b'"result"', b'"error"')):
            return named.pop() if len(named) == 1 else None
        return self._only() if b'"jsonrpc"' in line and b'"method"' not in line else None

    def _only(self) -> RequestId | None:
        return next(iter(self._open)) if len(self._open) == 1 else None

    def _failure(self, request: RequestId, reason: str) -> SessionMessage:
        self._open.pop(request, None)
        error = ErrorData(code=PARSE_ERROR, message=f"the answer can't be read: {reason}")
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=error))

    def _listing(self, result: dict[str, Any]) -> dict[str, Any]:
        tools = result.get("tools")
        if not isinstance(tools, list):
            return result
        kept = []
        if len(tools) > MOST_TOOLS:
            self.refused[f"{len(tools) - MOST_TOOLS} more"] = f"it lists more than {MOST_TOOLS}"
        for tool in tools[:MOST_TOOLS]:
            try:
                kept.append(listed_tool(tool))
            except SchemaRefused as error:
                name = tool.get("name") if isinstance(tool, dict) else tool
                self.refused[repr(name)[:_SHOWN_CHARS]] = str(error)
        return {**result, "tools": kept}
