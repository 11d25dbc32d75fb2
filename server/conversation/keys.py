"""Keys of conversations: under what an answer is indexed, so that a later request finds it.

What a key is made of must not change: logs hold the keys of conversations that may go on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentlm.messages import Message, ToolSpec
from agentlm.trajectory import Interaction, Step

_MANY_CHARS = 65_536


@dataclass(frozen=True)
class Conversation:
    """Whose messages they are, whom they are for, and what may be called."""

    owner: str
    model: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec]
    after: Interaction | None = None
    """The answer that it goes on from by its id; None: its messages tell."""
    handed_back: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    """The steps of answers that its client keeps instead of the log, by continuation key."""
    take: bool = True
    """Go on from what is found; else it is only looked at, and stays free."""
    kept: bool = True
    """Whether the log keeps what is said: what it does not keep goes on from nothing recorded."""


class Chain:
    """The continuation keys of one conversation: a hash that grows by one message at a time."""

    def __init__(self, owner: str, model: str, tools: Sequence[ToolSpec]) -> None:
        seed = json.dumps([owner, model, [tool.model_dump(exclude_none=True) for tool in tools]])
        self._hash = hashlib.sha256(seed.encode())

    def add(self, message: Message) -> str:
        """Grow by a message; returns the key of the conversation that ends with it."""
        calls = [(call.name, _canonical(call.arguments)) for call in message.tool_calls]
        text = message.content or message.refusal or ""
        part = json.dumps([message.role, text.strip(), calls])
        self._hash.update(part.encode() + b"\n")
        return self._hash.hexdigest()


def _canonical(arguments: str) -> str:
    """Arguments however a client re-serialised them, unless they are endless."""
    if len(arguments) > _MANY_CHARS:
        return arguments
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def conversation_keys(conversation: Conversation) -> list[str]:
    """The key of the conversation up to each of its messages, that message included."""
    chain = Chain(conversation.owner, conversation.model, conversation.tools)
    return [chain.add(message) for message in conversation.messages]


def continuation_key(conversation: Conversation) -> str:
    """The key under which the answer is indexed that the conversation ends with."""
    return conversation_keys(conversation)[-1]
