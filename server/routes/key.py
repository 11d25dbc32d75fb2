"""`/v1/key`: what the caller's own key allows."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from agentlm.server.callers import LOCAL, allowed_families
from agentlm.server.http.openapi import answers
from agentlm.server.state import Caller, State

router = APIRouter(prefix="/v1/key")


class KeyAnswer(BaseModel):
    """A key, for its holder."""

    name: str
    """The owner of its trajectories."""
    admin: bool
    may_decide: bool
    """Whether it may decide on tool calls that the server's policy asks a person about."""
    tools: list[str]
    """The families of server tools that it may use."""
    needed: bool
    """Whether this server requires keys at all."""


@router.get("", responses=answers(KeyAnswer))
async def get_key(state: State, caller: Caller) -> KeyAnswer:
    """The caller's own key: its name and what it allows."""
    return KeyAnswer(
        name=caller.name,
        admin=caller.admin,
        may_decide=caller.admin or caller.may_decide,
        tools=list(allowed_families(caller, state.chat.toolbox.families())),
        needed=caller.name != LOCAL.name,
    )
