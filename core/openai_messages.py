"""Messages, calls and tools in the format of OpenAI's chat API, and back.

This is the one place that knows the format. It serves requests to upstreams and to servers that
tasks are played against, answers, stored completions, and rows for fine-tuning. Input from outside
is checked first (by `openai.chat_request` in the server, by `exchange.conversation` in files); here
the shape is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from agentlm.messages import Message, ToolCall, ToolSpec


def own_seed(*parts: object) -> int:
    """The `seed` of a request that is told from others by these parts.

    An engine draws the same noise for the same seed. With one for many requests the same tokens are
    favoured at the same place of all answers, and a model that is trained on them learns that.
    """
    return Random("/".join(map(str, parts))).getrandbits(31)


def write_message(message: Message) -> dict[str, Any]:
    """Absent fields are left out, except `content`, which is null beside calls."""
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
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def read_call(written: Mapping[str, Any]) -> ToolCall:
    """A call without arguments has empty ones."""
    function = written["function"]
    return ToolCall(
        id=written["id"], name=function["name"], arguments=function.get("arguments") or "{}"
    )


def write_tool(spec: ToolSpec) -> dict[str, Any]:
    return {"type": "function", "function": spec.model_dump(exclude={"owner"}, exclude_none=True)}


def write_tool_choice(name: str) -> dict[str, Any]:
    """The choice of one function."""
    return {"type": "function", "function": {"name": name}}
