"""`/health` and `/version`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from agentlm import __version__
from agentlm.errors import UnavailableError
from agentlm.server.state import State

router = APIRouter()


@router.get("/health")
async def health(state: State) -> JSONResponse:
    """200 while engine and log take work, else 503 saying which does not."""
    with suppress(UnavailableError):
        await state.store.ready()
    checks = {"engine": await state.models.healthy(), "store": not state.store.failing}
    status: dict[str, Any] = {"status": "ok" if all(checks.values()) else "unavailable", **checks}
    return JSONResponse(status, 200 if all(checks.values()) else 503)


@router.get("/version")
async def version() -> dict[str, str]:
    """The server's version."""
    return {"version": __version__}
