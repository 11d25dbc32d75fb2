"""MCP servers that a request names, and the calls of their tools that the client approves.

A call that the client has to approve ends the answer, like a call of the client's own function.
With the approval, the next request makes the call (`chat.approved`), and goes on from its result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from agentlm.errors import RequestError
from agentlm.messages import ToolSpec
from agentlm.server.chat.request import Brought
from agentlm.server.openai.wire import Items, Wire, as_request_error
from agentlm.tools.mcp.brought import LABEL, BroughtServer
from agentlm.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from agentlm.tools.mcp.tools import McpTool

T = TypeVar("T", bound=Wire)

_MOST_SERVERS = 16
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{1,8192}")
_OURS = {"host", "content-length", "transfer-encoding", "connection", "accept", "content-type"}
"""Headers that the protocol itself sets."""

Names = Annotated[Items[str], Field(max_length=1024)]


class ToolFilter(Wire):
    """Some of a server's tools."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool_names: Names | None = None
    read_only: bool | None = None

    def holds(self, name: str, *, read_only: bool) -> bool:
        """Whether the filter includes a tool."""
        named = self.tool_names is None or name in self.tool_names
        return named and (self.read_only is None or read_only is self.read_only)


class ApprovalFilter(Wire):
    """Which tools have to be approved, and which don't; all others have to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    always: ToolFilter | None = None
    never: ToolFilter | None = None


class McpServerTool(Wire):
    """A server in a request's list of tools."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["mcp"]
    server_label: str
    server_url: str
    server_description: str | None = None
    headers: Annotated[dict[str, str], Field(max_length=64)] | None = None
    authorization: str | None = None
    allowed_tools: Names | ToolFilter | None = None
    require_approval: Literal["always", "never"] | ApprovalFilter | None = None

    def server(self, place: str) -> BroughtServer:
        """Raises RequestError for an invalid label or header."""
        if not LABEL.fullmatch(self.server_label) or "__" in self.server_label:
            raise _wrong(place, "server_label", "must be 1 to 40 letters, digits, - and single _")
        chosen = self.allowed_tools
        names = chosen.tool_names if isinstance(chosen, ToolFilter) else chosen
        return BroughtServer(
            label=self.server_label,
            url=self.server_url,
            place=place,
            headers=self._headers(place),
            allowed=None if names is None else frozenset(names),
            read_only=chosen.read_only if isinstance(chosen, ToolFilter) else None,
        )

    def asks(self, name: str, *, read_only: bool) -> bool:
        """Whether the client has to approve calls of a tool. The default is OpenAI's."""
        rule = self.require_approval
        if not isinstance(rule, ApprovalFilter):
            return rule != "never"
        if rule.always is not None and rule.always.holds(name, read_only=read_only):
            return True
        return rule.never is None or not rule.never.holds(name, read_only=read_only)

    def _headers(self, place: str) -> dict[str, str]:
        sent = dict(self.headers or {})
        if self.authorization is not None:
            sent["Authorization"] = f"Bearer {self.authorization}"
        for name, value in sent.items():
            # Neither value is reported: not everybody who reads the error may read the header.
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
                raise _wrong(place, "headers", "names a header that can't be set")
            if not _HEADER_VALUE.fullmatch(value):
                raise _wrong(place, "headers", "holds a value that can't be sent: printable ASCII")
        return sent

    def echo(self) -> dict[str, Any]:
        """The tool as it is repeated and kept: without secrets."""
        fields = self.model_dump(exclude={"headers", "authorization"}, exclude_none=True)
        approval = {} if "require_approval" in fields else {"require_approval": "always"}
        return fields | approval | {"server_url": self.server_url.partition("?")[0]}


def _wrong(place: str, name: str, reason: str) -> RequestError:
    return RequestError(f"{place}.{name}: {reason}", param=f"{place}.{name}")


def read_tool(kind: type[T], declared: Mapping[str, Any], place: str) -> T:
    """Raises RequestError with the wrong field, but without its value, which may be a secret."""
    fields = {name: value for name, value in declared.items() if value is not None}
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        worse = as_request_error(error)
        raise _wrong(place, worse.param or "type", _reason(error)) from None


def _reason(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return "is not known here" if first["type"] == "extra_forbidden" else str(first["msg"])


async def bring(tools: Mapping[str, McpServerTool], toolbox: Toolbox) -> Brought:
    """Get the tools of the servers, given by their places in the request. Raises RequestError."""
    if len(tools) > _MOST_SERVERS:
        raise RequestError(f"tools: at most {_MOST_SERVERS} MCP servers", param="tools")
    servers = [tool.server(place) for place, tool in tools.items()]
    labels = [server.label for server in servers]
    for server in servers:
        if labels.count(server.label) > 1:
            reason = f"two servers are called {server.label!r}"
            raise _wrong(server.place, "server_label", reason)
    by_label = {tool.server_label: tool for tool in tools.values()}
    free: list[McpTool] = []
    to_approve: list[McpTool] = []
    for tool in await toolbox.bring(servers):
        label, _, _ = tool.name.partition("__")
        wanted = by_label[label].asks(tool.listed_name, read_only=tool.hints.read_only is True)
        (to_approve if wanted else free).append(tool)
    secrets = {
        f"{server.label} {name}": value.removeprefix("Bearer ")
        for server in servers
        for name, value in server.headers.items()
    }
    return Brought(tuple(free), tuple(to_approve), secrets)


def label_of(name: str, tools: Sequence[Mapping[str, Any]]) -> str | None:
    """The brought server of a tool, by the tools that an answer repeats."""
    label, parts, _ = name.partition("__")
    brought = any("server_url" in tool and tool["server_label"] == label for tool in tools)
    return label if parts and brought else None


def listings(
    tools: Sequence[Mapping[str, Any]], specs: Sequence[ToolSpec]
) -> Iterator[dict[str, Any]]:
    """The tools of each brought server, as items without ids."""
    for tool in tools:
        if "server_url" in tool:
            prefix = f"{tool['server_label']}__"
            listed = [spec for spec in specs if spec.name.startswith(prefix)]
            yield {
                "type": "mcp_list_tools",
                "server_label": tool["server_label"],
                "tools": [
                    {
                        "name": spec.name.removeprefix(prefix),
                        "description": spec.description,
                        "input_schema": spec.parameters,
                        "annotations": None,
                    }
                    for spec in listed
                ],
                "error": None,
            }
