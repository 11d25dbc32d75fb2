"""The toolbox: opens the families of tools that an operator offers, and gives each run its
selection of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from agentlm.agent.tool import Tool
from agentlm.errors import OperatorError, RequestError
from agentlm.tools.approvals import Approvals, OnPending
from agentlm.tools.audit import Audit, log_audit
from agentlm.tools.functions import own_families
from agentlm.tools.graph.tools import open_graph
from agentlm.tools.mcp.config import load_servers
from agentlm.tools.permissions import load_permissions
from agentlm.tools.run_tools import Bounds, RunTools
from agentlm.tools.secrets import Secrets, secret_values
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.bash import Bash
from agentlm.tools.shell.files import WorkspaceFiles
from agentlm.tools.shell.pool import checked, remove_work_directory
from agentlm.tools.sql.tools import open_sql
from agentlm.tools.web.tools import open_web

if TYPE_CHECKING:
    from agentlm.tools.mcp.brought import BroughtServer
    from agentlm.tools.mcp.tools import McpTool

_log = logging.getLogger(__name__)


async def _open_bash(settings: ToolSettings) -> tuple[Tool, ...]:
    return (await Bash.open(settings),)


async def _open_mcp(settings: ToolSettings) -> tuple[Tool, ...]:
    if settings.mcp_config is None:
        raise OperatorError("no mcp_config names MCP servers")
    from agentlm.tools.mcp.tools import open_mcp

    return await open_mcp(settings.mcp_config, settings)


def _secrets(settings: ToolSettings) -> dict[str, str]:
    """Secrets that the server knows and no observation may contain."""
    secrets = secret_values(os.environ, (settings.sql_url, settings.store_url))
    servers = load_servers(settings.mcp_config) if settings.mcp_config else {}
    for server in servers.values():
        secrets |= secret_values({**server.env, **server.headers}, (server.url,))
    return secrets


Opening = Callable[[], Awaitable[tuple[Tool, ...]]]
Opener = Callable[[ToolSettings], Awaitable[tuple[Tool, ...]]]
FAMILIES: Mapping[str, Opener] = {
    "bash": _open_bash,
    "sql": open_sql,
    "web": open_web,
    "knowledge_graph": open_graph,
    "mcp": _open_mcp,
}
"""Families that a request can name by `{"type": …}`, besides own tools, and how they are opened."""


def _openers(settings: ToolSettings) -> dict[str, Opening]:
    """All families that the settings know, whether they work here or not.

    Raises OperatorError if an own one would stand in the place of one of ours.
    """
    ours = {name: partial(opener, settings) for name, opener in FAMILIES.items()}
    own = own_families(settings)
    if taken := sorted(ours.keys() & own.keys()):
        raise OperatorError(f"{taken[0]} is a family of AgentLM's: give your own another name")
    return {**ours, **own}


def left_out(settings: ToolSettings) -> list[str]:
    """What the settings configure and `--tools` does not name, a sentence each."""
    if settings.tools is None:
        return []
    names = sorted(_configured(settings).difference(settings.tools))
    return [f"{name} is configured, but --tools does not name it" for name in names]


def _configured(settings: ToolSettings) -> set[str]:
    """The families that a setting names something for."""
    named = {
        "sql": settings.sql_url,
        "web": settings.web_search,
        "knowledge_graph": settings.graph,
        "mcp": settings.mcp_config,
        **{path.stem: path for path in settings.tool_files},
    }
    return {name for name, value in named.items() if value is not None}


class Toolbox:
    """The server's tools, opened. `for_request` selects those for a run."""

    def __init__(
        self,
        settings: ToolSettings,
        audit: Audit,
        families: Mapping[str, tuple[Tool, ...]] | None = None,
    ) -> None:
        self.approvals = Approvals(settings.approval_wait_s)
        """Calls that wait for a decision."""
        self._families = dict(families or {})
        self._settings = settings
        self._openers = _openers(settings)
        self._permissions = load_permissions(settings.tool_policy)
        self._bounds = Bounds(
            call_s=settings.tool_timeout_s,
            run_s=settings.run_tool_s,
            output_chars=settings.tool_output_chars,
            secrets=Secrets(_secrets(settings)),
            audit=audit,
        )

    @classmethod
    async def open(
        cls,
        settings: ToolSettings,
        families: Sequence[str] | None = None,
        audit: Audit = log_audit,
    ) -> Toolbox:
        """Open `families`, or those of the settings. Raises OperatorError if one can't work.

        If neither names any, all that work here are opened, and the log says which don't. What the
        settings configure, such as a database or a file of tools, has to work in any case.
        """
        wanted = settings.tools if families is None else families
        toolbox = cls(settings, audit)
        openers = toolbox._openers
        if unknown := [name for name in wanted or () if name not in openers]:
            raise OperatorError(f"unknown tools {', '.join(unknown)}; known: {', '.join(openers)}")
        try:
            configured = _configured(settings)
            # Without a configuration no MCP servers are missing.
            usual = [name for name in openers if name != "mcp" or name in configured]
            if families is None:
                for sentence in left_out(settings):
                    _log.warning(sentence)
            for name in usual if wanted is None else wanted:
                required = wanted is not None or name in configured
                await toolbox._open(name, openers[name], required=required)
        except BaseException:
            await toolbox.close()
            raise
        return toolbox

    def families(self) -> tuple[str, ...]:
        """Names that `for_request` accepts."""
        return tuple(self._families)

    def remedy(self, family: str) -> str | None:
        """What the operator would have to do to offer a family; None: there is none of this
        name."""
        if family not in self._openers:
            return None
        steps = []
        if family == "mcp" and self._settings.mcp_config is None:
            steps.append("name servers by --mcp-config")
        if self._settings.tools is not None:
            steps.append(f"add {family} to --tools")
        # Else it did not work at the start. The reason may name paths, which are no client's.
        return " and ".join(steps) or f"mend what 'agentlm doctor --tools {family}' says"

    def for_request(
        self,
        types: Sequence[str],
        *,
        owner: str = "",
        names: Container[str] | None = None,
        on_pending: OnPending | None = None,
        brought: Sequence[Tool] = (),
        secrets: Mapping[str, str] | None = None,
    ) -> RunTools:
        """The tools of these families, in the order of the toolbox. Raises RequestError if unknown.

        `owner`: the key's owner, for the policy; `names`: only these tools of the families;
        `on_pending`: called for calls that wait for approval; `brought`: tools of the request's own
        MCP servers, and `secrets` what is sent to them.
        """
        if unknown := [name for name in types if name not in self._families]:
            known = ", ".join(self._families) or "none"
            raise RequestError(
                f"this server has no tools of type {unknown[0]!r}; it has: {known}", param="tools"
            )
        ours = [
            tool
            for name, tools in self._families.items()
            for tool in tools
            if name in types and (names is None or tool.name in names)
        ]
        chosen = [
            (tool, permission)
            for tool in (*ours, *brought)
            if (permission := self._permissions.permission(tool.name, owner)) != "deny"
        ]
        bounds = replace(self._bounds, secrets=self._bounds.secrets.beside(secrets or {}))
        return RunTools(chosen, bounds, self.approvals, on_pending, brought)

    async def bring(self, servers: Sequence[BroughtServer]) -> tuple[McpTool, ...]:
        """The tools of MCP servers that a request names. Raises RequestError."""
        from agentlm.tools.mcp.brought import bring

        theirs = {tool.name.partition("__")[0] for tool in self._families.get("mcp", ())}
        for server in servers:
            if server.label in theirs:
                place = f"{server.place}.server_label"
                raise RequestError(
                    f"{place}: {server.label!r} is a server of the operator's: name yours "
                    "otherwise",
                    param=place,
                )
        families = await asyncio.gather(*(bring(server, self._settings) for server in servers))
        return tuple(tool for tools in families for tool in tools)

    def files(self, trajectory_id: str) -> WorkspaceFiles:
        """The files that bash sees in /workspace. They can be put there before its first
        command."""
        directory = self._settings.sandboxes_dir() / checked(trajectory_id)
        return WorkspaceFiles(directory / "workspace", self._settings)

    async def release(self, trajectory_id: str) -> None:
        """Drop everything that is kept for a trajectory: processes, files, variables.

        Its files also go if bash is not among the tools: another server may have left them.
        """
        for tool in self._tools():
            await tool.release(trajectory_id)
        sandboxes = self._settings.sandboxes_dir()
        await asyncio.to_thread(remove_work_directory, sandboxes, trajectory_id)

    async def close(self) -> None:
        """End every process and connection of every tool."""
        await asyncio.gather(*(tool.close() for tool in self._tools()))

    async def _open(self, name: str, opening: Opening, *, required: bool) -> None:
        try:
            tools = await opening()
        except OperatorError as error:
            if required:
                raise
            _log.warning("tools of type %s are not offered: %s", name, error)
            return
        taken = {tool.name for tool in self._tools()}
        self._families[name] = tools
        if twice := taken & {tool.name for tool in tools}:
            raise OperatorError(
                f"two tools are called {', '.join(sorted(twice))}; one is in {name}"
            )

    def _tools(self) -> list[Tool]:
        return [tool for tools in self._families.values() for tool in tools]
