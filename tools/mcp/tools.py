"""Tools of MCP servers as tools of ours, named `server__tool`."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import mcp_types
from pydantic import BaseModel, ConfigDict

from agentlm.agent.tool import Tool, ToolContext, ToolError
from agentlm.errors import OperatorError
from agentlm.tools.mcp.config import load_servers
from agentlm.tools.mcp.connection import Connection, ConnectionFailed
from agentlm.tools.mcp.schema import SchemaRefused, check_arguments, checked_name, kept_schema
from agentlm.tools.settings import ToolSettings

_log = logging.getLogger(__name__)
_TOOLS = 128
_DESCRIPTION_CHARS = 1_000


class McpTool:
    """A tool of an MCP server; name, docstring and schema are what the server says of it."""

    def __init__(self, connection: Connection, tool: mcp_types.Tool) -> None:
        self.name = f"{connection.name}__{checked_name(tool.name)}"
        self.__doc__ = (tool.description or tool.title or tool.name)[:_DESCRIPTION_CHARS]
        self.Args = _arguments(self.name, kept_schema(tool.input_schema))
        self._tool = tool.name
        self._connection = connection

    async def run(self, args: BaseModel, context: ToolContext) -> str:
        """Call it on the server. What the server calls an error is one for the model."""
        result = await self._connection.call(self._tool, args.model_dump())
        text = _text(result)
        if result.is_error:
            raise ToolError(text or "the tool failed without a word")
        return text or "(no output)"

    async def release(self, trajectory_id: str) -> None:
        """Servers know nothing of trajectories."""

    async def close(self) -> None:
        """End the connection, which the server's tools share; idempotent."""
        await self._connection.close()


async def open_mcp(config: Path, settings: ToolSettings) -> tuple[Tool, ...]:
    """The tools of every server in the file. Raises OperatorError if one does not start."""
    servers = await asyncio.to_thread(load_servers, config)
    connections = [
        Connection(name, server, settings.tool_timeout_s) for name, server in servers.items()
    ]
    try:
        listed = await asyncio.gather(*(connection.tools() for connection in connections))
    except BaseException as error:
        await asyncio.gather(*(connection.close() for connection in connections))
        if isinstance(error, ConnectionFailed):
            raise OperatorError(f"an MCP server did not start: {error}") from error
        raise
    pairs = zip(connections, listed, strict=True)
    return tuple(tool for connection, found in pairs for tool in _offered(connection, found))


def _offered(connection: Connection, found: list[mcp_types.Tool]) -> list[Tool]:
    """Those that can be offered; the log names the others."""
    tools: dict[str, Tool] = {}
    for listed in found[:_TOOLS]:
        try:
            tool = McpTool(connection, listed)
        except SchemaRefused as error:
            _log.warning(
                "MCP server %s: tool %.80r left out: %s", connection.name, listed.name, error
            )
            continue
        tools.setdefault(tool.name, tool)
    return list(tools.values())


def _arguments(name: str, schema: dict[str, Any]) -> type[BaseModel]:
    """A model whose schema is the server's, checked as JSON schema."""

    class Arguments(BaseModel):
        model_config = ConfigDict(extra="allow", title=name)

        @classmethod
        def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
            return schema

        @classmethod
        def model_validate(cls, obj: Any, **kwargs: Any) -> Arguments:
            check_arguments(obj, schema)
            return super().model_validate(obj, **kwargs)

    return Arguments


def _text(result: mcp_types.CallToolResult) -> str:
    parts = [_block(block) for block in result.content]
    if not any(parts) and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    return "\n".join(filter(None, parts))


def _block(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "resource" if hasattr(block.resource, "text"):
            return str(block.resource.text)
        case "resource_link":
            return f"({block.uri})"
        case kind:
            return f"({kind}, not shown)"
