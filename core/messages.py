"""The words of a conversation: what a client sends and gets, whatever model renders them.

Text only. `developer` is read as `system`; content parts are joined before they come here, so past
the HTTP edge there are no dict messages and no unions of content types.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Role = Literal["system", "user", "assistant", "tool"]


class Frozen(BaseModel):
    """Immutable data: unknown fields are refused, docstrings under fields are their description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ToolCall(Frozen):
    """One call that a model made."""

    id: str
    """`call_…`, unique in the log: results of client tools find their trajectory by it."""
    name: str
    arguments: str
    """Verbatim text as the model wrote it; JSON if decoding was constrained."""

    def parsed(self) -> dict[str, Any]:
        """The arguments as an object. Raises ValueError if they are not a JSON object."""
        try:
            value = json.loads(self.arguments)
        except RecursionError as error:
            raise ValueError("the arguments are nested too deeply") from error
        if not isinstance(value, dict):
            raise ValueError(f"arguments must be a JSON object, got {type(value).__name__}")
        return value


class Message(Frozen):
    """One message of a conversation as a client sees it."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """On assistant messages."""
    refusal: str | None = None
    """On assistant messages: what an upstream said instead of the answer that was asked for."""
    tool_call_id: str | None = None
    """On tool messages: the call that this answers."""


class ToolSpec(Frozen):
    """A tool as the model is told of it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema of the arguments object."""
    strict: bool | None = None
    """What the client said of OpenAI's field: whether an upstream has to hold the arguments to the
    schema. Here decoding does so or does not for all tools."""
    owner: Literal["client", "server"] = "client"
    """Who runs it: a client's call is returned to the client, a server's runs in the loop."""
