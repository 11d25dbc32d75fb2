"""Tools as a request names them, and which of them it wants called."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator

from agentlm.errors import RequestError
from agentlm.messages import ToolSpec
from agentlm.server.openai.schemas import object_schema
from agentlm.server.openai.wire import Items, Wire


class WireFunction(Wire):
    """A function that the client offers."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """None: the function takes no arguments."""
    strict: bool | None = None


class WireTool(Wire):
    """A tool: a function of the client's, or one of the server's families by its name."""

    type: str
    function: WireFunction | None = None
    file_ids: Annotated[Items[str], Field(max_length=1024)] | None = None
    """Not in OpenAI's API: files of `/v1/files` for bash."""
    _place: str | None = None
    _written_type: str | None = None

    def converted_from(self, place: str, type_: str) -> Self:
        """Note its place in the request and its type there: those in a converted list say nothing
        to the caller."""
        self._place, self._written_type = place, type_
        return self

    @property
    def written_type(self) -> str:
        """The request's own word for its type."""
        return self._written_type or self.type

    def place(self, index: int) -> str:
        """The request's own words for it, `index` being where it stands in chat's list."""
        return self._place or f"tools[{index}]"


OWN_LABEL = "agentlm"
"""The server's own tools appear as the tools of an MCP server with this label."""
WireTools = Annotated[Items[WireTool], Field(max_length=1024)]


class ToolChoiceName(Wire):
    """The name inside a tool choice."""

    name: str


class NamedToolChoice(Wire):
    """The choice of one function."""

    type: Literal["function"]
    function: ToolChoiceName


class ServerToolChoice(Wire):
    """Not in OpenAI's API: the choice of a family of the server's tools."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    server: str | None = None
    """The MCP server whose tools are chosen."""
    name: str | None = None
    """One of those tools."""
    _written: Mapping[str, Any] | None = None

    def converted_from(self, written: Mapping[str, Any]) -> Self:
        """Note the choice as the request has it."""
        self._written = written
        return self

    @property
    def written(self) -> Mapping[str, Any]:
        """The request's own words for it."""
        return self._written or self.model_dump(exclude_none=True)

    @field_validator("type")
    @classmethod
    def _is_theirs(cls, type_: str) -> str:
        if type_ in ("function", "allowed_tools"):
            raise ValueError("no type of the server's tools")
        return type_

    def chosen(self, names: Collection[str]) -> frozenset[str]:
        """The chosen ones of `names`, which are all tools of this type."""
        prefix = f"{self.server}__" if self.server else ""
        return frozenset(
            name
            for name in names
            if name.startswith(prefix) and self.name in (None, name.removeprefix(prefix))
        )


class AllowedTools(Wire):
    """Some of the tools, and whether one of them must be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[
        Items[NamedToolChoice | ServerToolChoice], Field(min_length=1, max_length=1024)
    ]


class AllowedToolsChoice(Wire):
    """The choice of some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


def client_tools(tools: Sequence[WireTool] | None) -> tuple[ToolSpec, ...]:
    """The functions that the client runs itself. Raises RequestError for an invalid one."""
    specs: dict[str, ToolSpec] = {}
    for index, tool in enumerate(tools or ()):
        if tool.type != "function":
            continue
        place = f"{tool.place(index)}.function"
        if tool.function is None:
            raise RequestError("a tool of type 'function' needs a function", param=place)
        if tool.function.name in specs:
            raise RequestError(
                f"two tools are named {tool.function.name!r}",
                param=f"{place}.name",
            )
        specs[tool.function.name] = ToolSpec(
            name=tool.function.name,
            description=tool.function.description or "",
            parameters=object_schema(
                tool.function.parameters,
                f"{place}.parameters",
                f"the tool {tool.function.name!r}",
            ),
            strict=tool.function.strict,
        )
    return tuple(specs.values())


def server_families(tools: Sequence[WireTool] | None) -> tuple[str, ...]:
    """The families of the server's own tools that a request names, each once."""
    return tuple(dict.fromkeys(tool.type for tool in tools or () if tool.type != "function"))
