"""The tool contract: what a tool is to the loop, and what the loop is to a tool.

A `Tool` is a name, a docstring (which is what the model reads), an argument model (whose JSON
schema the model is held to) and `run`. What it can't do it says by `ToolError`, which goes to the
model; any other exception ends the run as `error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from agentlm.errors import AgentLMError
from agentlm.messages import ToolCall, ToolSpec


class ToolError(AgentLMError):
    """The tool can't do what the model asked; `str(error)` is told to the model.

    Any other exception that a tool raises ends the run as `error`.
    """


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Whose call it is."""

    trajectory_id: str
    """State that a tool keeps between calls (a shell, variables) is keyed by this."""
    owner: str


@dataclass(frozen=True, slots=True)
class Hints:
    """What a tool does to the world, for those who decide about it; None: unknown."""

    title: str | None = None
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None
    """It reaches what is outside, such as the web."""


@dataclass(frozen=True, slots=True)
class Output:
    """An observation that is more than text, for programs that can take it; models read `text`."""

    text: str
    blocks: tuple[Mapping[str, Any], ...] = ()
    """Images, sounds and the like, as MCP writes content."""
    structured: Any = None
    """The same as JSON, if there is one."""


class Tool(Protocol):
    """A name, a docstring (which is what the model reads), an argument model, and `run`.

    It may have `hints` too.
    """

    name: str
    Args: type[BaseModel]
    """Its JSON schema is what the model is held to."""

    async def run(self, args: Any, context: ToolContext) -> str | Output:
        """Do it and return the observation. Raises ToolError for what the model can mend."""
        ...

    async def release(self, trajectory_id: str) -> None:
        """Drop what is kept for a trajectory; called when it is forgotten. Idempotent."""
        ...

    async def close(self) -> None:
        """End every process and connection of this tool."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """What a tool call gave back."""

    text: str
    failed: bool = False
    """The text is a refusal or an error that the model should read."""
    seconds: float = 0.0
    blocks: tuple[Mapping[str, Any], ...] = ()
    structured: Any = None
    """See `Output`."""


class Tools(Protocol):
    """The tools that one run may use; `tools.Toolbox` is the implementation."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told of them, in a stable order."""
        ...

    async def call(self, call: ToolCall, context: ToolContext) -> Observation:
        """Run one call under its deadline and output budget; ToolError becomes `failed`.

        An unknown tool or arguments that do not fit the schema are failed observations too.
        """
        ...
