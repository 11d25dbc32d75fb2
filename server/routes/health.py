"""`/health` and `/version`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from agentlm import __version__
from agentlm.errors import UnavailableError
from agentlm.server.state import State
from agentlm.store import Store

router = APIRouter()


@router.get("/health")
async def health(state: State) -> JSONResponse:
    """200 while engine, compiler and log work, else 503 with the one that does not, and why."""
    engine, store = await asyncio.gather(state.models.healthy(), _takes_writes(state.store))
    compiler = state.models.compiles()
    reasons = {
        "the engine does not run": engine,
        "a schema has been compiling for too long": compiler,
        "the log can't be written": store,
    }
    broken = [reason for reason, works in reasons.items() if not works]
    works = {"engine": engine, "compiler": compiler, "store": store}
    status = {"status": "unavailable" if broken else "ok", **works}
    if not broken:
        return JSONResponse(status)
    return JSONResponse(status | {"reason": " and ".join(broken)}, 503)


async def _takes_writes(store: Store) -> bool:
    """Asks the database each time, because it may have failed since the last write."""
    try:
        await store.probe()
    except UnavailableError:
        return False
    return True


@router.get("/version")
async def version() -> dict[str, str]:
    """The server's version."""
    return {"version": __version__}
