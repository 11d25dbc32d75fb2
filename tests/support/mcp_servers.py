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


def answer(
    tools: Tools,
    call: Callable[[str], str] = lambda name: "called",
    reply: Callable[[dict[str, Any]], str] | None = None,
) -> None:
    """A server of raw JSON that says it has these tools; `reply` writes the lines of a result."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        if reply and request["method"] == "tools/call":
            print(reply(request), flush=True)
            continue
        response: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        match request["method"]:
            case "initialize":
                response["result"] = {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "raw", "version": "1"},
                }
            case "tools/list":
                response["result"] = {"tools": tools}
            case "tools/call":
                text = call(request["params"]["name"])
                response["result"] = {"content": [{"type": "text", "text": text}]}
            case _:
                response["error"] = {"code": -32601, "message": "no such method"}
        print(json.dumps(response), flush=True)


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


def odd() -> None:
    """Tools that are odd, each in its way, beside one that is fine; and odd results by name."""
    nested: Any = {"type": "object"}
    for _ in range(300):
        nested = {"type": "object", "properties": {"x": nested}}
    tools: Tools = [
        {"name": "none"},
        {"name": "null", "inputSchema": None},
        {"name": "string", "inputSchema": {"type": "string"}},
        {"name": "list", "inputSchema": []},
        {"name": "nested", "inputSchema": nested},
        {"name": 5, "inputSchema": {"type": "object"}},
        {"name": "a b", "inputSchema": {"type": "object"}},
        {"name": "half", "inputSchema": {"type": "object"}, "description": "\ud800"},
        {
            "name": "loose",
            "description": 7,
            "inputSchema": {
                "type": "object",
                "properties": {"x": True, "y": {"type": [], "enum": [float("nan")]}},
                "required": ["x", ["y"], 5],
            },
            "outputSchema": {"type": "object", "properties": 5},
            "annotations": {"readOnlyHint": "maybe"},
        },
        {"name": "dot.ted", "inputSchema": {"type": "object"}},
        {"name": "dot_ted", "inputSchema": {"type": "object"}},
    ]
    fine = {"type": "object", "properties": {"way": {"type": "string"}}}
    annotations = {"readOnlyHint": True, "title": "Fine"}
    tools.append({"name": "fine", "inputSchema": fine, "annotations": annotations})

    def reply(request: dict[str, Any]) -> str:
        start = f'{{"jsonrpc": "2.0", "id": {request["id"]}'
        return {
            "well": start + ', "result": {"content": [{"type": "text", "text": "well"}]}}',
            "batch": "[" + start + ', "result": {"content": [{"type": "text", "text": "well"}]}}]',
            "cut": start + ', "result": {"content": [',
            "no id": '{"jsonrpc": "2.0", "result": {"content": [',
            "unread": '{"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "?"}}',
            "no content": start + ', "result": {}}',
            "no list": start + ', "result": {"content": "well"}}',
            "no object": start + ', "result": 5}',
            "unknown": start + ', "result": {"content": [{"type": "smell"}]}}',
            "half": start + ', "result": {"content": [{"type": "text", "text": "\\ud800"}]}}',
            "neither": start + "}",
            "logs": '{"level": "error", "id": 99999}\nnot JSON\n\n'
            + start
            + ', "result": {"content": [{"type": "text", "text": "well"}]}}',
        }[request["params"]["arguments"]["way"]]

    answer(tools, reply=reply)


def rich() -> None:
    """Results that are more than text."""
    image = {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}
    text = {"type": "text", "text": "a picture"}
    result = {
        "content": [text, {**image, "annotations": {"audience": ["user"]}}],
        "structuredContent": {"size": 5},
    }
    hints = {"readOnlyHint": True, "openWorldHint": False, "title": "Draws"}
    answer(
        [{"name": "draw", "inputSchema": {"type": "object"}, "annotations": hints}],
        reply=lambda request: json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}),
    )


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
