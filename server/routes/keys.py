"""`/v1/keys`: keys, what they allow, and how much they were used. Secrets are not stored."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from agentlm.messages import Frozen
from agentlm.server.http.openapi import answers_list
from agentlm.server.state import Admin, State
from agentlm.store import ApiKey
from agentlm.store.contract import OwnerUse

router = APIRouter(prefix="/v1/keys")


class KeyUse(Frozen):
    """One owner of rows."""

    id: str
    key: ApiKey | None
    """None: rows of the server's own --api-key, of a server without keys, or imported rows."""
    use: OwnerUse | None
    """None: no rows in the log."""


@router.get("", responses=answers_list(KeyUse))
async def list_keys(state: State, _admin: Admin) -> dict[str, Any]:
    """Every key, including revoked ones, and all other owners of rows in the log."""

    def listing() -> list[dict[str, Any]]:
        keys = {key.name: key for key in state.store.keys.list()}
        uses = state.store.use_by_owner()
        names = dict.fromkeys((*keys, *sorted(uses)))
        owners = (KeyUse(id=name, key=keys.get(name), use=uses.get(name)) for name in names)
        return [{"object": "key", **owner.model_dump(mode="json")} for owner in owners]

    return {"object": "list", "data": await asyncio.to_thread(listing), "has_more": False}
