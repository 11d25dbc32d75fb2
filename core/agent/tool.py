"""The tool contract: what the loop expects of a tool, and what a tool may expect of the loop.

A `Tool` has a name, a docstring (the model reads it), an argument model (decoding is held to its
JSON schema) and `run`. If it can't do what the model asked, it raises `ToolError`, whose message
goes to the model. Any other exception ends the run as `error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from agentlm.errors import AgentLMError
from agentlm.messages import ToolCall, ToolSpec


class ToolError(AgentLMError):
    """The tool can't do what the model asked. The model reads `str(error)`.

    Any other exception that a tool raises ends the run as `error`.
    """


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Who makes a call."""

    trajectory_id: str
    """Key of the state that a tool keeps between calls (a shell, variables)."""
    owner: str


@dataclass(frozen=True, slots=True)
class Hints:
    """What a tool does to the world, for those who decide whether it may run. None: unknown."""

    title: str | None = None
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None
    """It reaches beyond this machine, for example to the web."""


@dataclass(frozen=True, slots=True)
class Output:
    """An observation with more than text, for clients that can take it. Models read `text`."""

    text: str
    blocks: tuple[Mapping[str, Any], ...] = ()
    """Images, sounds and other content, in MCP's format."""
    structured: Any = None
    """The observation as JSON, if there is such a form."""


class Tool(Protocol):
    """A name, a docstring that the model reads, an argument model, and `run`; `hints` are
    optional."""

    name: str
    Args: type[BaseModel]
    """Decoding is held to the JSON schema of this model."""

    async def run(self, args: Any, context: ToolContext) -> str | Output:
        """Act and return the observation. Raises ToolError for what the model can correct."""
        ...

    async def release(self, trajectory_id: str) -> None:
        """Drop what is kept for a trajectory; called when the trajectory is forgotten.
        Idempotent."""
        ...

    async def close(self) -> None:
        """End every process and connection of this tool."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """What a tool call returned."""

    text: str
    failed: bool = False
    """The text is a refusal or an error for the model to read."""
    seconds: float = 0.0
    blocks: tuple[Mapping[str, Any], ...] = ()
    structured: Any = None
    """See `Output`."""


class Tools(Protocol):
    """The tools that one run may use; `tools.Toolbox` is the implementation."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the model reads of them, in a stable order."""
        ...

    async def call(self, call: ToolCall, context: ToolContext) -> Observation:
        """Run one call within its deadline and output limit. A ToolError becomes `failed`.

        An unknown tool and arguments that don't fit the schema are failed observations, too.
        """
        ...
