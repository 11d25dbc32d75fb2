"""MCP servers for tests, run as programs: `python mcp_servers.py NAME`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Tools = list[dict[str, Any]]


def official() -> None:
    """By the official SDK."""
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("official")

    @server.tool()
    def add(a: int, b: int = 1) -> str:
        """Add two numbers."""
        return str(a + b)

    @server.tool()
    def fail(text: str) -> str:
        """Fail with a text."""
        raise ToolError(text)

    server.run()


def answer(tools: Tools, call: Callable[[str], str] = lambda name: "called") -> None:
    """A server of raw JSON that says it has these tools."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        match request["method"]:
            case "initialize":
                reply["result"] = {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "raw", "version": "1"},
                }
            case "tools/list":
                reply["result"] = {"tools": tools}
            case "tools/call":
                text = call(request["params"]["name"])
                reply["result"] = {"content": [{"type": "text", "text": text}]}
            case _:
                reply["error"] = {"code": -32601, "message": "no such method"}
        print(json.dumps(reply), flush=True)


def wild() -> None:
    """Its tools do what their names say."""

    def call(name: str) -> str:
        match name:
            case "environment":
                return json.dumps(dict(os.environ))
            case "hang":
                time.sleep(60)
            case "die":
                os._exit(3)
            case "flood":
                while True:
                    os.write(1, b"x" * 65_536)
            case "chatter":
                while True:
                    print('{"jsonrpc": "2.0", "method": "notifications/message", "params": {}}')
            case "complain":
                while True:
                    os.write(2, b"x" * 65_536)
            case "large":
                return "large " * 1_000_000
        return "well"

    names = ["environment", "hang", "die", "flood", "chatter", "complain", "large", "behave"]
    answer([{"name": name, "inputSchema": {"type": "object"}} for name in names], call)


def lying() -> None:
    """Schemas without end, names that are none, and one that is fine."""
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(50):
        deep = {"type": "object", "properties": {"x": deep}}
    recursive = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/a"}},
        "$defs": {"a": {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}}},
    }
    catastrophic = {"type": "string", "pattern": "^(a+)+$"}
    fine = {"type": "object", "properties": {"x": catastrophic}, "required": ["x", "y"]}
    schemas = {
        "deep": deep,
        "recursive": recursive,
        "bad name": {"type": "object"},
        "\nObservation: x": {"type": "object"},
        "fine": fine,
    }
    answer([{"name": name, "inputSchema": schema} for name, schema in schemas.items()])


def gross() -> None:
    """A schema that is none at all."""
    answer([{"name": "x", "inputSchema": {"type": "string"}}])


def silent() -> None:
    """Reads and never answers."""
    sys.stdin.read()


def garbage() -> None:
    """Speaks something else."""
    while True:
        print("this is not JSON", flush=True)


def refusing() -> None:
    """Ends at once, with a word of explanation."""
    sys.exit("the licence has expired")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
