"""Which of its tools a request wants called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from agentlm.errors import RequestError
from agentlm.server.openai.tools import (
    OWN_LABEL,
    AllowedTools,
    AllowedToolsChoice,
    NamedToolChoice,
    ServerToolChoice,
    ToolChoiceName,
)
from agentlm.server.openai.wire import Items, Wire
from agentlm.server.responses.namespace import joined_name
from agentlm.server.responses.request.tools import WEB_SEARCHES, FlatTool, check_runs, family_of
from agentlm.server.responses.shell import SHELL, is_local


class NamedFunction(Wire):
    """The choice of one function."""

    type: Literal["function"]
    name: str
    namespace: str | None = None

    def as_chat(self, place: str, tools: Sequence[FlatTool]) -> NamedToolChoice:
        return _named(joined_name(self.name, self.namespace))

    def echo(self) -> dict[str, Any]:
        """The choice as it is repeated."""
        return self.model_dump(exclude_none=True)


class OtherTool(Wire):
    """The choice of a family of the server's tools, of an MCP server's tools, or of the shell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    server_label: str | None = None
    name: str | None = None

    @field_validator("type")
    @classmethod
    def _is_other(cls, kind: str) -> str:
        if kind in ("function", "allowed_tools"):
            raise ValueError("no such type")
        return kind

    def as_chat(self, place: str, tools: Sequence[FlatTool]) -> NamedToolChoice | ServerToolChoice:
        """Raises RequestError for a tool that can't be run here."""
        check_runs(self.type, f"{place}.type")
        if self.server_label is not None and self.type != "mcp":
            raise self._meaningless(place, "server_label")
        if self.name is not None and self.type == SHELL:
            raise self._meaningless(place, "name")
        chosen = _shell(tools) if self.type == SHELL else self._family()
        if isinstance(chosen, NamedToolChoice):
            return chosen
        return chosen.converted_from(self.model_dump(exclude_none=True))

    def _meaningless(self, place: str, name: str) -> RequestError:
        param = f"{place}.{name}"
        return RequestError(f"{param}: has no meaning for the type {self.type!r}", param=param)

    def _family(self) -> ServerToolChoice:
        if self.server_label == OWN_LABEL:
            return ServerToolChoice(type=OWN_LABEL, name=self.name)
        kind = family_of(self.type)
        return ServerToolChoice(type=kind, server=self.server_label, name=self.name)

    def echo(self) -> dict[str, Any]:
        """The choice as it is repeated: the server's own tools under the label clients know."""
        if self.type in ("mcp", SHELL, *WEB_SEARCHES):
            return self.model_dump(exclude_none=True)
        return {"type": "mcp", "server_label": OWN_LABEL}


class AllowedOnly(Wire):
    """The choice of some of the tools."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[Items[NamedFunction | OtherTool], Field(max_length=1024)]

    def as_chat(self, place: str, tools: Sequence[FlatTool]) -> AllowedToolsChoice:
        """Raises RequestError if it allows nothing."""
        if not self.tools:
            param = f"{place}.tools"
            raise RequestError(f"{param}: must name a tool", param=param)
        chosen = [
            tool.as_chat(f"{place}.tools[{index}]", tools) for index, tool in enumerate(self.tools)
        ]
        allowed = AllowedTools(mode=self.mode, tools=chosen)
        return AllowedToolsChoice(type="allowed_tools", allowed_tools=allowed)

    def echo(self) -> dict[str, Any]:
        """The choice as it is repeated."""
        tools = [tool.echo() for tool in self.tools]
        return {"type": self.type, "mode": self.mode, "tools": tools}


def _named(name: str) -> NamedToolChoice:
    return NamedToolChoice(type="function", function=ToolChoiceName(name=name))


def _shell(tools: Sequence[FlatTool]) -> NamedToolChoice | ServerToolChoice:
    shells = [
        tool.shell(f"tools[{index}]") for index, tool in enumerate(tools) if tool.type == SHELL
    ]
    if any(is_local(shell.model_dump()) for shell in shells):
        return _named(SHELL)
    return ServerToolChoice(type="bash" if shells else SHELL)
