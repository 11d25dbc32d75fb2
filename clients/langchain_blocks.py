"""A message of the server in LangChain's standard content blocks.

These are the blocks that LangChain itself makes (thoughts, text, calls of the client's tools), and,
between thoughts and text, the calls of the server's tools with their results. A call that waits for
a person is a `non_standard` block, since LangChain has no block for it.
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
"""`response_metadata["model_provider"]` of this server's answers."""


def content_blocks(message: AIMessage) -> list[ContentBlock]:
    """All blocks of a message, or of a chunk."""
    blocks = _plain(message).content_blocks
    thoughts = [block for block in blocks if block["type"] == "reasoning"]
    others = [block for block in blocks if block["type"] != "reasoning"]
    metadata = message.response_metadata
    return [
        *thoughts,
        *(_approval(request) for request in metadata.get("approvals", ())),
        *(block for step in metadata.get("agent_steps", ()) for block in _call(step)),
        *others,
    ]


def _plain(message: M) -> M:
    """The message without its provider, which would make LangChain call this module again."""
    metadata = {**message.response_metadata}
    metadata.pop("model_provider", None)
    return message.model_copy(update={"response_metadata": metadata})


def _approval(request: dict[str, Any]) -> ContentBlock:
    return {"type": "non_standard", "value": {"type": "approval_request", **request}}


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
    """The arguments as the model wrote them. If they are not an object, they get a key."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = text
    return cast("dict[str, Any]", read) if isinstance(read, dict) else {"arguments": read}


register_translator(PROVIDER, content_blocks, content_blocks)
