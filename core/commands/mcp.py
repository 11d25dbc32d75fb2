"""The entry of `agentlm mcp`: errors in flags, and `--help`, don't need the extra."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentlm.settings import parse
from agentlm.tools.settings import ToolSettings


class McpSettings(ToolSettings):
    """Offer tools to an MCP client, such as an editor, over standard input and output."""


def main(argv: Sequence[str]) -> int:
    settings = parse(McpSettings, argv, "agentlm mcp")
    from agentlm.tools.mcp_server import serve

    asyncio.run(serve(settings))
    return 0
