"""Parameters of routes: the parts of a running server, and the caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from agentlm.jobs.evaluations import Evaluations
from agentlm.jobs.kept_files import KeptFiles
from agentlm.models.registry import Registry
from agentlm.server.callers import require_admin
from agentlm.server.chat.background import Background
from agentlm.server.chat.chat import Chat
from agentlm.server.job_processes import Jobs
from agentlm.server.metrics import Metrics
from agentlm.server.models.publisher import Publisher
from agentlm.server.models.served import ServedModels
from agentlm.server.responses.sealed import Seals
from agentlm.server.settings import ServeSettings
from agentlm.store import ApiKey, Store


@dataclass(frozen=True)
class ServerState:
    settings: ServeSettings
    store: Store
    models: ServedModels
    registry: Registry
    publisher: Publisher
    chat: Chat
    background: Background
    metrics: Metrics
    files: KeptFiles
    seals: Seals
    jobs: Jobs
    evaluations: Evaluations


# These are coroutines although they never wait: FastAPI runs plain functions on threads.


async def _state(request: Request) -> ServerState:
    state: ServerState = request.app.state.server
    return state


async def _caller(request: Request) -> ApiKey:
    caller: ApiKey = request.scope["caller"]
    return caller


async def _scope(request: Request) -> str | None:
    caller = await _caller(request)
    return None if caller.admin else caller.name


async def _admin(request: Request) -> ApiKey:
    caller = await _caller(request)
    require_admin(caller)
    return caller


async def _weights(request: Request) -> AsyncIterator[None]:
    async with (await _state(request)).models.leases.held():
        yield


State = Annotated[ServerState, Depends(_state)]
Caller = Annotated[ApiKey, Depends(_caller)]
"""The API key of the request."""
Admin = Annotated[ApiKey, Depends(_admin)]
"""The same; the request is refused unless the key is an administrator's."""
SameWeights = Depends(_weights)
"""Keeps the weights from being replaced until the response has been sent."""
OwnerScope = Annotated[str | None, Depends(_scope)]
"""The owner whose rows the caller may see; None for an administrator: all."""
