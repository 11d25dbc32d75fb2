"""`/v1/key`: what the key that asks may do."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from agentlm.server.callers import LOCAL, allowed_families
from agentlm.server.http.openapi import answers
from agentlm.server.state import Caller, State

router = APIRouter(prefix="/v1/key")


class KeyAnswer(BaseModel):
    """A key as its holder sees it."""

    name: str
    """The owner of what it makes."""
    admin: bool
    may_decide: bool
    """On tool calls that the server's policy asks a person about."""
    tools: list[str]
    """The server's families of tools that it may hand to a model."""
    needed: bool
    """Whether this server asks for keys at all."""


@router.get("", responses=answers(KeyAnswer))
async def get_key(state: State, caller: Caller) -> KeyAnswer:
    """The caller's own key: its name, and what it may do."""
    return KeyAnswer(
        name=caller.name,
        admin=caller.admin,
        may_decide=caller.admin or caller.may_decide,
        tools=list(allowed_families(caller, state.chat.toolbox.families())),
        needed=caller.name != LOCAL.name,
    )
