"""Messages, calls and tools as OpenAI's chat API spells them, and back.

The one place that knows this spelling: requests to upstreams and to servers that tasks are played
against, answers, stored completions, rows for fine-tuning. What a stranger sends is checked first
(in the server by `openai.chat_request`, in files by `exchange.conversation`); here the shape is
taken for granted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentlm.messages import Message, ToolCall, ToolSpec


def write_message(message: Message) -> dict[str, Any]:
    """A message; what it has not is left out, but for `content`, which is null beside calls."""
    calls = [write_call(call) for call in message.tool_calls]
    written: dict[str, Any] = {
        "role": message.role,
        "content": message.content or (None if calls else ""),
    }
    if calls:
        written["tool_calls"] = calls
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def write_call(call: ToolCall) -> dict[str, Any]:
    """A call of a function."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def read_call(written: Mapping[str, Any]) -> ToolCall:
    """A call; one without arguments has none to give."""
    function = written["function"]
    return ToolCall(
        id=written["id"], name=function["name"], arguments=function.get("arguments") or "{}"
    )


def write_tool(spec: ToolSpec) -> dict[str, Any]:
    """A function that may be called."""
    return {"type": "function", "function": spec.model_dump(exclude={"owner"}, exclude_none=True)}


def write_tool_choice(name: str) -> dict[str, Any]:
    """The choice of one function."""
    return {"type": "function", "function": {"name": name}}
