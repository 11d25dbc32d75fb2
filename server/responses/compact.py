"""`/v1/responses/compact`: a summary of a conversation, for its client to go on from.

The requested model writes the summary, in an interaction whose text is not kept. The client gets it
sealed (`sealed`), together with the user's messages.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agentlm.errors import RequestError
from agentlm.messages import Message
from agentlm.server.chat.choice import Choice
from agentlm.server.chat.request import History
from agentlm.server.openai.ids import response_of
from agentlm.server.responses.output import suffix, usage
from agentlm.server.responses.request.body import ResponseRequest, read_response_request
from agentlm.server.responses.sealed import Summary

_ASKED = {
    *("model", "input", "instructions", "previous_response_id", "prompt_cache_key"),
    *("prompt_cache_options", "prompt_cache_retention"),
}
_ORDER = Message(
    role="user",
    content="Summarise this conversation so that it can be gone on with from the summary alone: "
    "what was asked, found, decided and left open, with all names, numbers and addresses.",
)


def read_compact_request(body: Any) -> ResponseRequest:
    """Check a decoded body. Raises RequestError naming the first wrong field."""
    if isinstance(body, dict):
        for name, value in body.items():
            if name not in _ASKED and value is not None:
                param = name[:64]
                raise RequestError(
                    f"{param} has no meaning where a conversation is compacted", param=param
                )
        body = {**body, "store": False}
    return read_response_request(body)


def with_order(history: History) -> History:
    """The conversation with the instruction to summarise it."""
    return replace(history, messages=(*history.messages, _ORDER), after=None)


def summary_of(choice: Choice, history: History) -> Summary:
    """The content to seal."""
    user_texts = (message.content for message in history.messages if message.role == "user")
    return Summary(asked=tuple(user_texts), summary=choice.response().content)


def compacted(choice: Choice, sealed: str) -> dict[str, Any]:
    """A whole `response.compaction`."""
    identity = f"cmp_{suffix(choice.request.completion_id)}"
    item = {"id": identity, "type": "compaction", "encrypted_content": sealed}
    return {
        "id": response_of(choice.request.completion_id),
        "object": "response.compaction",
        "created_at": int(choice.request.created),
        "output": [item],
        "usage": usage(choice.transcript.usage()),
    }
