"""Tools as a request names them: the client's functions, the server's, a brought MCP server's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from agentlm.errors import RequestError
from agentlm.server.openai.schemas import object_schema
from agentlm.server.openai.tools import OWN_LABEL, WireFunction, WireTool
from agentlm.server.openai.wire import Items, Wire
from agentlm.server.responses.mcp import McpServerTool, read_tool
from agentlm.server.responses.namespace import MOST_CHARS, NAMESPACE, joined_name
from agentlm.server.responses.shell import SHELL, ShellTool

WEB_SEARCHES = ("web_search", "web_search_preview")
_NOBODYS = (
    *("file_search", "computer", "computer_use_preview", "code_interpreter", "image_generation"),
    *("local_shell", "apply_patch", "custom", "tool_search", "programmatic_tool_calling"),
)
"""Types of tools that OpenAI knows and nobody here can run."""


class FlatTool(Wire):
    """A function of the client's, a namespace of functions, or a family of the server's tools."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    file_ids: Annotated[Items[str], Field(max_length=1024)] | None = None
    tools: Annotated[Items[FlatTool], Field(max_length=1024)] | None = None
    """Those of a namespace."""

    def shell(self, place: str) -> ShellTool:
        """The shell. Raises RequestError for an unknown environment."""
        return read_tool(ShellTool, {"type": self.type, **(self.model_extra or {})}, place)

    @property
    def is_brought(self) -> bool:
        """Whether it is an MCP server that the request itself names."""
        return self.type == "mcp" and "server_url" in (self.model_extra or {})

    def server(self, place: str) -> McpServerTool:
        """That MCP server. Raises RequestError."""
        return read_tool(McpServerTool, {"type": self.type, **(self.model_extra or {})}, place)

    def as_chat(self, place: str) -> WireTool:
        """Convert it to chat's form. Raises RequestError for a tool that can't be run here."""
        if self.type == "function":
            function = self._function(place)
            return WireTool(type="function", function=function, file_ids=self.file_ids)
        if self.type == SHELL:
            return self.shell(place).as_chat()
        check_runs(self.type, f"{place}.type")
        for name, value in (self.model_extra or {}).items():
            if value is not None and (self.type, name, value) not in _AS_IT_IS:
                raise RequestError(
                    f"{place}.{name[:64]}: {_SETTING.get(self.type, _NO_SETTING)}",
                    param=f"{place}.{name[:64]}",
                )
        return WireTool(type=family_of(self.type), file_ids=self.file_ids)

    def of_namespace(self, place: str) -> Iterator[WireTool]:
        """Its functions, by names that say whose they are. Raises RequestError."""
        for index, tool in enumerate(self.tools or ()):
            each = f"{place}.tools[{index}]"
            if tool.type != "function":
                check_runs(tool.type, f"{each}.type")
                raise RequestError(f"{each}.type: must be 'function'", param=f"{each}.type")
            function = tool._function(each)
            name = joined_name(function.name, self.name)
            if self.name is None or len(name) > MOST_CHARS:
                param = f"{place}.name" if self.name is None else f"{each}.name"
                reason = f"{name!r} has more than {MOST_CHARS} characters"
                raise RequestError(
                    f"{param}: {reason if self.name else 'is required'}", param=param
                )
            object_schema(function.parameters, f"{each}.parameters", f"the tool {name!r}")
            renamed = function.model_copy(update={"name": name})
            yield WireTool(type="function", function=renamed).converted_from(each, tool.type)

    def _function(self, place: str) -> WireFunction:
        if self.name is None:
            raise RequestError(f"{place}.name: is required", param=f"{place}.name")
        return WireFunction(
            name=self.name,
            description=self.description,
            parameters=self.parameters,
            strict=self.strict,
        )

    def echo(self) -> dict[str, Any]:
        """The tool as it is repeated: the server's tools as a type that clients know.

        Clients warn of unknown types. The calls of these tools appear under the same label.
        """
        if self.type in ("web", *WEB_SEARCHES):
            return {"type": "web_search" if self.type == "web" else self.type}
        if self.is_brought:
            return self.server("tools").echo()
        if self.type == SHELL:
            return self.shell("tools").model_dump(exclude_none=True)
        if self.type == NAMESPACE:
            members = [tool.echo() for tool in self.tools or ()]
            named = {"name": self.name, "description": self.description or ""}
            return {"type": NAMESPACE, **named, "tools": members}
        if self.type != "function":
            family = {} if self.type == "mcp" else {"server_description": self.type}
            return {"type": "mcp", "server_label": OWN_LABEL, **family}
        return self.model_dump(include={"type", "name", "description", "parameters", "strict"})


def check_runs(kind: str, param: str) -> None:
    """Raises RequestError for a type of tools that can't be run here."""
    if kind in _NOBODYS:
        raise RequestError(f"{param}: nobody here can run tools of type {kind!r}", param=param)


def family_of(kind: str) -> str:
    """The family of the server's tools that a type means."""
    return "web" if kind in WEB_SEARCHES else kind


_AS_IT_IS = [
    *((kind, "search_context_size", "medium") for kind in WEB_SEARCHES),
    *((kind, "external_web_access", True) for kind in WEB_SEARCHES),
]
"""Settings that ask for what happens anyway; other values are not supported."""
_NO_SETTING = "this server's tools take no such setting"
_SETTING = {
    "mcp": "without server_url, {'type': 'mcp'} means all servers that the operator connected",
    **dict.fromkeys(WEB_SEARCHES, "which pages may be read is the operator's setting"),
}
