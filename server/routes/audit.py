"""`/v1/audit`: which tools were called, by whom, and how the calls ended."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query

from agentlm.server.state import OwnerScope, State

router = APIRouter(prefix="/v1/audit")


@router.get("")
async def list_audit(
    state: State,
    owner: OwnerScope,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    after: Annotated[int, Query(ge=0, lt=2**63)] | None = None,
) -> dict[str, Any]:
    """Calls of tools, newest first. `after` is the last id of the previous page."""
    records, has_more = await asyncio.to_thread(
        state.store.audit.page, owner, limit=limit, after=after
    )
    data = [{"id": number, **record.model_dump()} for number, record in records]
    return {"object": "list", "data": data, "has_more": has_more}
