"""The tools of one run, and the limits of each call."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from agentlm.agent.tool import Hints, Observation, Output, Tool, ToolContext, ToolError
from agentlm.messages import ToolCall, ToolSpec
from agentlm.printable import printable
from agentlm.store.audit import Ending
from agentlm.tools.approvals import Approvals, OnPending, approval_id
from agentlm.tools.audit import Audit, AuditRecord, digest
from agentlm.tools.observation import shorten
from agentlm.tools.permissions import Permission
from agentlm.tools.schema import arguments_of, spec_of
from agentlm.tools.secrets import Secrets

_GRACE_S = 5.0
"""Tools keep the deadline themselves. One that is this late is cancelled."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of calls."""

    call_s: float
    """Seconds of one call."""
    run_s: float
    """Seconds of all calls of a run together."""
    output_chars: int
    secrets: Secrets
    audit: Audit


class RunTools:
    """The tools of one run; implements `agent.Tools`."""

    def __init__(
        self,
        tools: Sequence[tuple[Tool, Permission]],
        bounds: Bounds,
        approvals: Approvals,
        on_pending: OnPending | None = None,
        brought: Sequence[Tool] = (),
    ) -> None:
        """`brought` are those of `tools` that only this run has, and that are closed with it."""
        self._brought = tuple(brought)
        self._tools = {tool.name: tool for tool, _ in tools}
        self._needs_approval = {tool.name for tool, permission in tools if permission == "ask"}
        self._specs = tuple(spec_of(tool) for tool, _ in tools)
        self._bounds = bounds
        self._approvals = approvals
        self._on_pending = on_pending
        self._spent_s = 0.0

    def specs(self) -> tuple[ToolSpec, ...]:
        return self._specs

    def hints(self, name: str) -> Hints:
        """The tool's own hints about its effects."""
        hints = getattr(self._tools[name], "hints", None)
        return hints if isinstance(hints, Hints) else Hints()

    def approval_id(self, call: ToolCall) -> str | None:
        """The id of the approval that this call needs; None: it needs none."""
        return approval_id(call) if call.name in self._needs_approval else None

    async def call(self, call: ToolCall, context: ToolContext) -> Observation:
        """Run one call within its limits, and write an audit record."""
        started = time.monotonic()
        ending: Ending = "error"
        output = Output("")
        seconds = 0.0
        try:
            refusal = await self._refusal(call, context)
            started = time.monotonic()  # the time that a person took does not count
            if refusal:
                output, ending = Output(refusal), "denied"
            else:
                output, ending = await self._run(call, context)
        except asyncio.CancelledError:
            ending = "cancelled"
            raise
        finally:
            seconds = time.monotonic() - started
            if ending != "denied":
                self._spent_s += seconds
            await self._bounds.audit(_record(call, context, ending, output.text, seconds))
        return Observation(
            output.text,
            failed=ending != "ok",
            seconds=seconds,
            blocks=output.blocks,
            structured=output.structured,
        )

    async def close(self) -> None:
        """Close what only this run uses. Idempotent; a later call opens it again."""
        for tool in self._brought:
            await tool.close()

    async def _refusal(self, call: ToolCall, context: ToolContext) -> str | None:
        """The reason for not running the call, or None."""
        if self._spent_s >= self._bounds.run_s:
            return (
                f"the tools of this run have used their {self._bounds.run_s:g} s; answer with what "
                "you know"
            )
        if call.name not in self._needs_approval:
            return None
        decision = await self._approvals.ask(call, context, self._on_pending)
        if decision.approve:
            return None
        return f"{call.name} was not allowed to run: {decision.reason or 'it was denied'}"

    async def _run(self, call: ToolCall, context: ToolContext) -> tuple[Output, Ending]:
        limit_s = min(self._bounds.call_s, self._bounds.run_s - self._spent_s)
        try:
            async with asyncio.timeout(limit_s + _GRACE_S):
                tool = self._tool(call.name)
                output = await tool.run(arguments_of(call, tool.Args), context)
            return self._bounded(output if isinstance(output, Output) else Output(output)), "ok"
        except ToolError as error:
            return Output(self._for_model(str(error))), "failed"
        except TimeoutError:
            text = f"{call.name} did not finish within {limit_s:g} s and was stopped"
            return Output(text), "timeout"

    def _tool(self, name: str) -> Tool:
        if name not in self._tools:
            raise ToolError(f"there is no tool {name!r}; the tools are: {', '.join(self._tools)}")
        return self._tools[name]

    def _bounded(self, output: Output) -> Output:
        """The JSON is left out if it is longer, or reveals more, than the text may."""
        structured = output.structured
        if structured is not None:
            written = json.dumps(structured, ensure_ascii=False)
            structured = structured if self._for_model(written) == printable(written) else None
        return Output(self._for_model(output.text), output.blocks, structured)

    def _for_model(self, text: str) -> str:
        return shorten(printable(self._bounds.secrets.scrub(text)), self._bounds.output_chars)


def _record(
    call: ToolCall, context: ToolContext, ending: Ending, text: str, seconds: float
) -> AuditRecord:
    return AuditRecord(
        tool=call.name,
        trajectory_id=context.trajectory_id,
        owner=context.owner,
        call_id=call.id,
        verdict=ending,
        arguments_digest=digest(call.arguments),
        output_chars=len(text),
        seconds=seconds,
        created=time.time() - seconds,
    )
