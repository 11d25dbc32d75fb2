"""`/v1/keys`: who may ask, what they may do, and what they did. Secrets are known to nobody."""

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
    """An owner of rows."""

    id: str
    key: ApiKey | None
    """None: rows of the server's own --api-key, of a server without keys, or imported."""
    use: OwnerUse | None
    """None: it has no row in the log."""


@router.get("", responses=answers_list(KeyUse))
async def list_keys(state: State, _admin: Admin) -> dict[str, Any]:
    """Every key, revoked ones included, and whoever else has rows in the log."""

    def found() -> list[dict[str, Any]]:
        keys = {key.name: key for key in state.store.keys.list()}
        uses = state.store.use_by_owner()
        names = dict.fromkeys((*keys, *sorted(uses)))
        owners = (KeyUse(id=name, key=keys.get(name), use=uses.get(name)) for name in names)
        return [{"object": "key", **owner.model_dump(mode="json")} for owner in owners]

    return {"object": "list", "data": await asyncio.to_thread(found), "has_more": False}
