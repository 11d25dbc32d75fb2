"""The parts of a conversation: what a client sends and gets, independent of any model's format.

Text only. `developer` is read as `system`. Content parts are joined at the HTTP edge; behind it
there are no dict messages and no unions of content types.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Role = Literal["system", "user", "assistant", "tool"]


class Frozen(BaseModel):
    """Immutable data. Unknown fields are refused; a docstring under a field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def new_call_id() -> str:
    """A name for a call, which nobody can guess."""
    return f"call_{uuid.uuid4().hex[:24]}"


class ToolCall(Frozen):
    """One call made by a model."""

    id: str
    """`call_…`, unique in the log: the result of a client's tool finds its trajectory by it."""
    name: str
    arguments: str
    """The text as the model wrote it, verbatim. It is JSON if decoding was constrained."""

    def parsed(self) -> dict[str, Any]:
        """Raises ValueError if the arguments are not a JSON object."""
        try:
            value = json.loads(self.arguments)
        except RecursionError as error:
            raise ValueError("the arguments are nested too deeply") from error
        if not isinstance(value, dict):
            raise ValueError(f"arguments must be a JSON object, got {type(value).__name__}")
        return value


class Message(Frozen):
    """One message of a conversation, as a client sees it."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """Only on assistant messages."""
    refusal: str | None = None
    """Only on assistant messages: an upstream's refusal, in place of an answer."""
    tool_call_id: str | None = None
    """On tool messages: the id of the call that this answers."""


class ToolSpec(Frozen):
    """A tool as the model knows it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema of the arguments, which are an object."""
    strict: bool | None = None
    """OpenAI's field, as the client sent it: whether an upstream has to hold the arguments to the
    schema. This server's own decoding treats all tools alike."""
    owner: Literal["client", "server"] = "client"
    """Who runs it: a client's call is returned to the client, a server's runs in the loop."""
