"""`/v1/approvals`: tool calls that, by the policy, a person has to decide on."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from agentlm.server.callers import require_decider
from agentlm.server.http.body import read_model
from agentlm.server.http.openapi import answers_list, reads
from agentlm.server.state import Caller, State
from agentlm.tools.approvals import ApprovalItem, Decision

router = APIRouter(prefix="/v1/approvals")


@router.get("", responses=answers_list(ApprovalItem))
async def list_approvals(state: State, caller: Caller) -> dict[str, Any]:
    """The waiting calls, oldest first. Their runs are paused.

    A key that may decide sees everybody's, any other key its own.
    """
    owner = None if caller.admin or caller.may_decide else caller.name
    waiting = state.chat.toolbox.approvals.pending(owner)
    return {"object": "list", "data": [item.model_dump() for item in waiting], "has_more": False}


@router.post("/{approval_id}", openapi_extra=reads(Decision))
async def decide(
    approval_id: str, request: Request, state: State, caller: Caller
) -> dict[str, Any]:
    """Approve or deny a call: `{"approve": true}`. Its run goes on at once."""
    require_decider(caller)
    decision = await read_model(Decision, request, 64 * 1024)
    item = state.chat.toolbox.approvals.decide(approval_id, decision)
    return {**item.model_dump(), "object": "approval", "approve": decision.approve}
