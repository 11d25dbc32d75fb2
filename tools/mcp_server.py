"""`agentlm mcp`: the server's tools offered to any MCP client, over standard input and output."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import uuid
from collections.abc import Sequence
from importlib.metadata import version

import mcp_types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from agentlm.agent.tool import ToolContext
from agentlm.messages import ToolCall, ToolSpec
from agentlm.settings import parse
from agentlm.store import Store
from agentlm.tools.approvals import ApprovalItem, Decision
from agentlm.tools.run_tools import RunTools
from agentlm.tools.settings import ToolSettings
from agentlm.tools.toolbox import Toolbox

_OWNER = "mcp"


class McpSettings(ToolSettings):
    """Offer tools to an MCP client, such as an editor, over standard input and output."""


def mcp_server(tools: RunTools, context: ToolContext) -> Server[dict[str, object]]:
    """A server that offers `tools`; one context is one conversation with its shell and files."""

    async def list_tools(
        _context: object, _params: mcp_types.PaginatedRequestParams | None
    ) -> mcp_types.ListToolsResult:
        return mcp_types.ListToolsResult(tools=[_described(spec) for spec in tools.specs()])

    async def call_tool(
        _context: object, params: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult:
        arguments = json.dumps(params.arguments or {})
        call = ToolCall(id=f"call_{uuid.uuid4().hex}", name=params.name, arguments=arguments)
        observation = await tools.call(call, context)
        content = mcp_types.TextContent(type="text", text=observation.text)
        return mcp_types.CallToolResult(content=[content], is_error=observation.failed)

    return Server(
        "agentlm", version=version("agentlm"), on_list_tools=list_tools, on_call_tool=call_tool
    )


async def serve(settings: ToolSettings) -> None:
    """Serve one client until its input ends."""
    context = ToolContext(trajectory_id=f"mcp_{uuid.uuid4().hex}", owner=_OWNER)
    settings.prepare_data_dir()
    store = Store.open(settings.log_url())
    toolbox = await Toolbox.open(settings, audit=store.audit.add)

    def deny(item: ApprovalItem) -> None:
        decision = Decision(approve=False, reason="nobody can be asked over MCP")
        toolbox.approvals.decide(item.id, decision)

    try:
        tools = toolbox.for_request(toolbox.families(), owner=_OWNER, on_pending=deny)
        server = mcp_server(tools, context)
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
    finally:
        await toolbox.release(context.trajectory_id)
        await toolbox.close()
        store.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `agentlm mcp`. Standard output is the protocol's; the log goes to stderr."""
    settings = parse(McpSettings, sys.argv[1:] if argv is None else argv, "agentlm mcp")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    asyncio.run(serve(settings))
    return 0


def _described(spec: ToolSpec) -> mcp_types.Tool:
    return mcp_types.Tool(
        name=spec.name, description=spec.description, input_schema=spec.parameters
    )


if __name__ == "__main__":
    raise SystemExit(main())
