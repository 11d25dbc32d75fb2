"""Calls that wait for somebody to approve or deny them.

A run that makes such a call pauses inside it: its stream stays open, and its deadline and budget
stop counting. The item describes what is about to be done. A decision resumes the run at once.
Without a decision within the allowed time, the call is denied.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field

from agentlm.agent.tool import ToolContext
from agentlm.errors import NotFoundError
from agentlm.messages import Frozen, ToolCall


def approval_id(call: ToolCall) -> str:
    """The id is known before anybody waits, so that a stream can send it."""
    return f"appr_{call.id.removeprefix('call_')}"


class ApprovalItem(Frozen):
    """A call that waits for a decision."""

    id: str
    owner: str
    trajectory_id: str
    call: ToolCall
    created: float = Field(default_factory=time.time)
    """Unix seconds."""
    expires: float
    """Unix seconds at which the call is denied if there is no decision."""


class Decision(Frozen):
    approve: bool
    reason: str | None = None
    """If the call is denied, the model reads this reason."""


@dataclass(frozen=True)
class _Waiting:
    item: ApprovalItem
    decision: asyncio.Future[Decision]


OnPending = Callable[[ApprovalItem], None]


class Approvals:
    """The calls that wait now. They are lost with the process, and their runs too."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._waiting: dict[str, _Waiting] = {}

    async def ask(
        self, call: ToolCall, context: ToolContext, on_pending: OnPending | None = None
    ) -> Decision:
        """Wait for a decision. `on_pending` gets the item as soon as it can be decided."""
        item = ApprovalItem(
            id=approval_id(call),
            owner=context.owner,
            trajectory_id=context.trajectory_id,
            call=call,
            expires=time.time() + self._wait_s,
        )
        waiting = _Waiting(item, asyncio.get_running_loop().create_future())
        self._waiting[item.id] = waiting
        try:
            if on_pending:
                on_pending(item)
            async with asyncio.timeout(self._wait_s):
                return await waiting.decision
        except TimeoutError:
            return Decision(approve=False, reason="nobody approved it in time")
        finally:
            del self._waiting[item.id]

    def pending(self, owner: str | None = None) -> list[ApprovalItem]:
        """Waiting calls, oldest first, of one owner; None: of all."""
        items = [waiting.item for waiting in self._waiting.values()]
        return [item for item in items if owner in (None, item.owner)]

    def decide(self, item_id: str, decision: Decision) -> ApprovalItem:
        """Resume the run. Raises NotFoundError if the call does not wait (any more)."""
        waiting = self._waiting.get(item_id)
        if waiting is None or waiting.decision.done():
            raise NotFoundError(
                f"no call waits for approval under {item_id!r} (any more): it was decided, its "
                "time is over, or its run has ended, as runs do with their client or the server",
                param="id",
            )
        waiting.decision.set_result(decision)
        return waiting.item
