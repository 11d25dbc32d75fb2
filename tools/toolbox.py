"""The toolbox: opens the families of tools that an operator offers, and gives each run its own
selection of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from agentlm.agent import Observation, Tool, ToolContext, ToolError
from agentlm.errors import OperatorError, RequestError
from agentlm.messages import ToolCall, ToolSpec
from agentlm.tools.audit import Audit, AuditRecord, Verdict, digest, log_audit
from agentlm.tools.bash import Bash
from agentlm.tools.graph.tools import open_graph
from agentlm.tools.observation import shorten
from agentlm.tools.schema import arguments_of, spec_of
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.files import WorkspaceFiles
from agentlm.tools.shell.pool import checked
from agentlm.tools.sql.tools import open_sql
from agentlm.tools.web.tools import open_web

_log = logging.getLogger(__name__)
_GRACE_S = 5.0
"""Tools keep the deadline themselves; one that has not after this long is cancelled."""


async def _open_bash(settings: ToolSettings) -> tuple[Tool, ...]:
    return (await Bash.open(settings),)


Opener = Callable[[ToolSettings], Awaitable[tuple[Tool, ...]]]
FAMILIES: Mapping[str, Opener] = {
    "bash": _open_bash,
    "sql": open_sql,
    "web": open_web,
    "knowledge_graph": open_graph,
}
"""What `{"type": …}` can name in a request, and how its tools are opened."""


class Toolbox:
    """The server's tools, opened. `for_request` gives a run those it named."""

    def __init__(
        self, families: Mapping[str, tuple[Tool, ...]], settings: ToolSettings, audit: Audit
    ) -> None:
        self._families = dict(families)
        self._settings = settings
        self._audit = audit

    @classmethod
    async def open(
        cls,
        settings: ToolSettings,
        families: Sequence[str] | None = None,
        audit: Audit = log_audit,
    ) -> Toolbox:
        """Open `families`, or those of the settings. Raises OperatorError if one can't work.

        If neither names any, those that work here are opened, and the log says what does not.
        """
        wanted = settings.tools if families is None else families
        if unknown := [name for name in wanted or () if name not in FAMILIES]:
            raise OperatorError(f"unknown tools {', '.join(unknown)}; known: {', '.join(FAMILIES)}")
        toolbox = cls({}, settings, audit)
        try:
            for name in FAMILIES if wanted is None else wanted:
                await toolbox._open(name, required=wanted is not None)
        except BaseException:
            await toolbox.close()
            raise
        return toolbox

    async def _open(self, name: str, *, required: bool) -> None:
        try:
            self._families[name] = await FAMILIES[name](self._settings)
        except OperatorError as error:
            if required:
                raise
            _log.warning("tools of type %s are not offered: %s", name, error)

    def families(self) -> tuple[str, ...]:
        """Names that `for_request` knows."""
        return tuple(self._families)

    def for_request(self, types: Sequence[str]) -> Selection:
        """The tools of the families named, in the order of the toolbox. RequestError if unknown."""
        if unknown := [name for name in types if name not in self._families]:
            known = ", ".join(self._families) or "none"
            raise RequestError(
                f"this server has no tools of type {unknown[0]!r}; it has: {known}", param="tools"
            )
        chosen = [tool for name, tools in self._families.items() if name in types for tool in tools]
        return Selection(chosen, self._settings, self._audit)

    def files(self, trajectory_id: str) -> WorkspaceFiles:
        """Files that bash sees in /workspace; they may be put there before its first command."""
        directory = self._settings.sandboxes_dir() / checked(trajectory_id)
        return WorkspaceFiles(directory / "workspace", self._settings)

    async def release(self, trajectory_id: str) -> None:
        """Drop everything that is kept for a trajectory: processes, files, variables."""
        for tool in self._tools():
            await tool.release(trajectory_id)

    async def close(self) -> None:
        """End every process and connection of every tool."""
        for tool in self._tools():
            await tool.close()

    def _tools(self) -> list[Tool]:
        return [tool for tools in self._families.values() for tool in tools]


class Selection:
    """The tools of one run; implements `agent.Tools`."""

    def __init__(self, tools: Sequence[Tool], settings: ToolSettings, audit: Audit) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._specs = tuple(spec_of(tool) for tool in tools)
        self._settings = settings
        self._audit = audit

    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told of them."""
        return self._specs

    async def call(self, call: ToolCall, context: ToolContext) -> Observation:
        """Run one call within its bounds, and leave an audit record of it."""
        started = time.monotonic()
        verdict: Verdict = "error"
        text = ""
        try:
            text, verdict = await self._run(call, context)
        except asyncio.CancelledError:
            verdict = "cancelled"
            raise
        finally:
            seconds = time.monotonic() - started
            await self._audit(_record(call, context, verdict, text, seconds))
        return Observation(text, failed=verdict != "ok", seconds=seconds)

    async def _run(self, call: ToolCall, context: ToolContext) -> tuple[str, Verdict]:
        limit_s = self._settings.tool_timeout_s
        try:
            async with asyncio.timeout(limit_s + _GRACE_S):
                tool = self._tool(call.name)
                output = await tool.run(arguments_of(call, tool.Args), context)
            return self._shortened(output), "ok"
        except ToolError as error:
            return self._shortened(str(error)), "failed"
        except TimeoutError:
            return f"{call.name} did not finish within {limit_s:g} s and was stopped", "timeout"

    def _tool(self, name: str) -> Tool:
        if name not in self._tools:
            raise ToolError(f"there is no tool {name!r}; the tools are: {', '.join(self._tools)}")
        return self._tools[name]

    def _shortened(self, text: str) -> str:
        return shorten(text, self._settings.tool_output_chars)


def _record(
    call: ToolCall, context: ToolContext, verdict: Verdict, text: str, seconds: float
) -> AuditRecord:
    return AuditRecord(
        tool=call.name,
        trajectory_id=context.trajectory_id,
        owner=context.owner,
        call_id=call.id,
        verdict=verdict,
        arguments_digest=digest(call.arguments),
        output_chars=len(text),
        seconds=seconds,
        created=time.time() - seconds,
    )
