"""Tools of MCP servers as our tools, named `server__tool`."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mcp_types
from pydantic import BaseModel, ConfigDict

from agentlm.agent.tool import Hints, Output, Tool, ToolContext, ToolError
from agentlm.errors import OperatorError
from agentlm.tools.mcp.config import load_servers
from agentlm.tools.mcp.connection import Connection, ConnectionFailed
from agentlm.tools.mcp.schema import check_arguments, checked_name, kept_schema
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
        self.hints = _hints(tool)
        self.listed_name = tool.name
        """The tool's name on its server."""
        self._connection = connection

    async def run(self, args: BaseModel, context: ToolContext) -> Output:
        """Call it on the server. The server's error results are errors for the model."""
        result = await self._connection.call(self.listed_name, args.model_dump())
        text = _text(result)
        if result.is_error:
            raise ToolError(text or "the tool failed without a word")
        blocks = (block for block in result.content if block.type != "text")
        written = (
            block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in blocks
        )
        return Output(text or "(no output)", tuple(written), result.structured_content)

    async def release(self, trajectory_id: str) -> None:
        """Servers don't know about trajectories."""

    async def close(self) -> None:
        """Close the connection, which the server's tools share. Idempotent."""
        await self._connection.close()


@dataclass(frozen=True)
class Offer:
    """The tools of one server."""

    connection: Connection
    tools: tuple[McpTool, ...]
    refused: dict[str, str]
    """Listed tools that can't be offered, with the reasons."""


async def open_mcp(config: Path, settings: ToolSettings) -> tuple[Tool, ...]:
    """The tools of every server in the file. Raises OperatorError if one does not start."""
    offers = await open_servers(config, settings)
    for offer in offers:
        for name, reason in offer.refused.items():
            _log.warning("MCP server %s: tool %s left out: %s", offer.connection.name, name, reason)
    return tuple(tool for offer in offers for tool in offer.tools)


async def open_servers(config: Path, settings: ToolSettings) -> list[Offer]:
    """The tools of every server in the file. Raises OperatorError if one does not start."""
    servers = await asyncio.to_thread(load_servers, config)
    connections = [
        Connection(name, server, settings.tool_timeout_s) for name, server in servers.items()
    ]
    try:
        return list(await asyncio.gather(*map(offer_of, connections)))
    except BaseException as error:
        await asyncio.gather(*(connection.close() for connection in connections))
        if isinstance(error, ConnectionFailed):
            raise OperatorError(f"an MCP server did not start: {error}") from error
        raise


async def offer_of(connection: Connection) -> Offer:
    """The tools of the server at the other end. Raises ConnectionFailed."""
    listed = await connection.tools()
    tools: dict[str, McpTool] = {}
    refused = {}
    for tool in listed:
        offered = McpTool(connection, tool)
        if offered.name in tools:
            refused[repr(tool.name)] = f"another one is called {offered.name} too"
        elif len(tools) == _TOOLS:
            refused[repr(tool.name)] = f"more than {_TOOLS} tools of one server are not taken"
        else:
            tools[offered.name] = offered
    return Offer(connection, tuple(tools.values()), connection.refused | refused)


def _hints(tool: mcp_types.Tool) -> Hints:
    stated = tool.annotations or mcp_types.ToolAnnotations()
    return Hints(
        title=tool.title or stated.title,
        read_only=stated.read_only_hint,
        destructive=stated.destructive_hint,
        idempotent=stated.idempotent_hint,
        open_world=stated.open_world_hint,
    )


def _arguments(name: str, schema: dict[str, Any]) -> type[BaseModel]:
    """A model with the server's schema, validated as JSON schema."""

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
    if result.structured_content is not None and not any(
        _same(block, result.structured_content) for block in result.content
    ):
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    return "\n".join(filter(None, parts))


def _same(block: Any, structured: Any) -> bool:
    """Whether a block has the same content, as it should for clients that read only text."""
    if block.type != "text":
        return False
    readings = [block.text]
    with suppress(ValueError, RecursionError):
        readings.append(json.loads(block.text))
    # The SDK's servers wrap results that are not objects.
    return any(structured in (reading, {"result": reading}) for reading in readings)


def _block(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "resource" if hasattr(block.resource, "text"):
            return str(block.resource.text)
        case "resource":
            return f"({block.resource.uri}, {block.resource.mime_type or 'binary'}, not shown)"
        case "resource_link":
            return f"({block.uri})"
        case kind:
            return f"({kind}, {block.mime_type}, not shown)"
