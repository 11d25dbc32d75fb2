"""What routes are given: the parts of a running server, and whose request it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from agentlm.registry import Registry
from agentlm.server.chat import Chat
from agentlm.server.metrics import Metrics
from agentlm.server.served import ServedModels
from agentlm.server.settings import ServeSettings
from agentlm.store import Store


@dataclass(frozen=True)
class ServerState:
    """The parts of a running server."""

    settings: ServeSettings
    store: Store
    models: ServedModels
    registry: Registry
    chat: Chat
    metrics: Metrics


def _state(request: Request) -> ServerState:
    state: ServerState = request.app.state.server
    return state


def _owner(request: Request) -> str:
    owner: str = request.scope["owner"]
    return owner


State = Annotated[ServerState, Depends(_state)]
Owner = Annotated[str, Depends(_owner)]
"""The API key's name; rows of other owners do not exist for it."""
