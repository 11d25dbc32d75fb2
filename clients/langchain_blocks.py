"""What a message of the server's says, in LangChain's standard content blocks.

What LangChain itself reads of it (thoughts, text, calls of the client's tools), and between its
thoughts and its text the calls of the server's tools with their results. A call that waits for a
person is a `non_standard` block: LangChain has no other for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeVar, cast

from langchain_core.messages import AIMessage
from langchain_core.messages.block_translators import register_translator
from langchain_core.messages.content import ContentBlock

M = TypeVar("M", bound=AIMessage)

PROVIDER = "agentlm"
"""`response_metadata["model_provider"]` of what this server answers."""


def content_blocks(message: AIMessage) -> list[ContentBlock]:
    """All blocks of a message, or of a chunk of one."""
    blocks = _plain(message).content_blocks
    thoughts = [block for block in blocks if block["type"] == "reasoning"]
    others = [block for block in blocks if block["type"] != "reasoning"]
    told = message.response_metadata
    return [
        *thoughts,
        *(_approval(asked) for asked in told.get("approvals", ())),
        *(block for step in told.get("agent_steps", ()) for block in _call(step)),
        *others,
    ]


def _plain(message: M) -> M:
    """The same without the provider, by which this module would be asked again."""
    told = {**message.response_metadata}
    told.pop("model_provider", None)
    return message.model_copy(update={"response_metadata": told})


def _approval(asked: dict[str, Any]) -> ContentBlock:
    return {"type": "non_standard", "value": {"type": "approval_request", **asked}}


def _call(step: dict[str, Any]) -> Iterator[ContentBlock]:
    yield {
        "type": "server_tool_call",
        "id": step.get("id", step["call"]),
        "name": step["call"],
        "args": _arguments(step["arguments"]),
    }
    yield {
        "type": "server_tool_result",
        "tool_call_id": step.get("id", step["call"]),
        "status": "error" if step["failed"] else "success",
        "output": step["observation"],
        "extras": {"seconds": step["seconds"]},
    }


def _arguments(text: str) -> dict[str, Any]:
    """As the model wrote them; what is no object stands under one name."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = text
    return cast("dict[str, Any]", read) if isinstance(read, dict) else {"arguments": read}


register_translator(PROVIDER, content_blocks, content_blocks)
