"""Keys of conversations. An answer is indexed by one, and a later request finds it by the same.

The way keys are made must not change: logs have the keys of conversations that may go on.
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
    """Messages, their owner and model, and the tools that may be called."""

    owner: str
    model: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec]
    after: Interaction | None = None
    """The answer that it goes on from, given by id; None: found by its messages."""
    handed_back: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    """Steps of answers that the client keeps instead of the log, by continuation key."""
    take: bool = True
    """Claim the place where it goes on. Else only look at it, so that it stays free."""
    may_be_shortened: bool = False
    """Whether the oldest messages may be left out of a prompt that would be too long."""
    kept: bool = True
    """Whether the log keeps the text. If it doesn't, the conversation goes on from nothing
    recorded."""


class Chain:
    """The continuation keys of one conversation: a hash that is extended by each message."""

    def __init__(self, owner: str, model: str, tools: Sequence[ToolSpec]) -> None:
        seed = json.dumps([owner, model, [tool.model_dump(exclude_none=True) for tool in tools]])
        self._hash = hashlib.sha256(seed.encode())

    def add(self, message: Message) -> str:
        """Add a message. Returns the key of the conversation that ends with it."""
        calls = [(call.name, _canonical(call.arguments)) for call in message.tool_calls]
        text = message.content or message.refusal or ""
        part = json.dumps([message.role, text.strip(), calls])
        self._hash.update(part.encode() + b"\n")
        return self._hash.hexdigest()


def _canonical(arguments: str) -> str:
    """Arguments in one form, however a client has serialised them again, unless they are too
    long."""
    if len(arguments) > _MANY_CHARS:
        return arguments
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def conversation_keys(conversation: Conversation) -> list[str]:
    """For each message, the key of the conversation up to and including it."""
    chain = Chain(conversation.owner, conversation.model, conversation.tools)
    return [chain.add(message) for message in conversation.messages]


def continuation_key(conversation: Conversation) -> str:
    """The index key of the answer at the end of the conversation."""
    return conversation_keys(conversation)[-1]
