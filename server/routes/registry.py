"""`/v1/registry` and `/v1/aliases`: every version of a model, how it performed, and which one
traffic gets.

Paths of files are not returned. Rewards and times are those of the caller's own trajectories; for
an administrator, of all.
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from agentlm.errors import ConflictError, OperatorError, RequestError
from agentlm.messages import Frozen
from agentlm.models.aliases import Promotion, Verdict
from agentlm.models.cards import ModelCard
from agentlm.models.promotion import promotion_of, rollback_of, verdict_of
from agentlm.models.registry import ALIAS
from agentlm.server.http.body import read_model
from agentlm.server.http.openapi import answers, answers_list, reads
from agentlm.server.state import Admin, Caller, OwnerScope, ServerState, State
from agentlm.store.contract import ModelRecord

router = APIRouter(prefix="/v1")

_TOLD_OF_TRAINING = ("rows", "steps", "trained_tokens", "first_loss", "last_loss")


class Version(Frozen):
    """A model card with its results."""

    id: str
    created: int
    """Unix seconds."""
    source: str
    parent: str | None
    """The card that it was trained from."""
    base: str | None
    """For an adapter: the card whose weights it changes."""
    weights_version: str | None
    served: bool
    aliases: tuple[str, ...]
    """The aliases that point to it now."""
    training: dict[str, float]
    """Counts and losses of its training run."""
    verdict: Verdict | None
    """The gate's verdict; None: it did not go through the gate."""
    verdict_error: str | None
    """The reason why its verdict can't be read."""
    record: ModelRecord
    """Rewards and times of its newest trajectories."""


class AliasHistory(Frozen):
    """A name that traffic uses."""

    id: str
    card: str
    """The card that it points to now."""
    history: tuple[Promotion, ...]
    """Oldest first."""


class PromoteRequest(BaseModel):
    """The body of `POST /v1/aliases/{alias}/promote`."""

    model_config = ConfigDict(extra="forbid")

    model: str
    """A registered model."""
    force: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """Why it is promoted without having passed the gate; kept in the history."""


@router.get("/registry", responses=answers_list(Version))
async def list_versions(state: State, _caller: Caller, owner: OwnerScope) -> dict[str, Any]:
    """Every registered or served card, oldest first, with its parent: the lineage."""

    def versions() -> list[dict[str, Any]]:
        served = {one.card.name: one.card for one in state.models.all()}
        cards = served | {card.name: card for card in state.registry.list()}
        aliases = state.registry.aliases.list()
        return [
            _version(card, card.name in served, aliases, owner, state)
            for card in sorted(cards.values(), key=lambda card: card.created)
        ]

    return {"object": "list", "data": await asyncio.to_thread(versions), "has_more": False}


@router.get("/aliases", responses=answers_list(AliasHistory))
async def list_aliases(state: State, _caller: Caller) -> dict[str, Any]:
    """The names that traffic uses, with every model that had them, when and why."""

    def histories() -> list[dict[str, Any]]:
        return [_alias(name, state) for name in state.registry.aliases.list()]

    return {"object": "list", "data": await asyncio.to_thread(histories), "has_more": False}


@router.post(
    "/aliases/{alias}/promote", openapi_extra=reads(PromoteRequest), responses=answers(AliasHistory)
)
async def promote(alias: str, request: Request, state: State, _admin: Admin) -> dict[str, Any]:
    """Point an alias to a model that has passed the gate, or to any model with a reason, at
    once."""
    body = await read_model(PromoteRequest, request, 64 * 1024)

    def decide() -> Promotion:
        return promotion_of(state.registry, alias, body.model, body.force)

    return await _point(alias, decide, state)


@router.post("/aliases/{alias}/rollback", responses=answers(AliasHistory))
async def roll_back(alias: str, state: State, _admin: Admin) -> dict[str, Any]:
    """Point an alias to the model that it pointed to before."""
    return await _point(alias, lambda: rollback_of(state.registry, alias), state)


async def _point(alias: str, decide: Any, state: ServerState) -> dict[str, Any]:
    if not re.fullmatch(ALIAS, alias):
        raise RequestError(
            f"{alias!r} can't be an alias: letters, digits, '.', '_' and '-'", param="alias"
        )
    try:
        await state.publisher.promote(alias, decide)
    except OperatorError as error:
        raise ConflictError(str(error), param="model") from error
    return await asyncio.to_thread(_alias, alias, state)


def _alias(name: str, state: ServerState) -> dict[str, Any]:
    history = state.registry.aliases.history(name)
    described = AliasHistory(id=name, card=history[-1].card, history=history)
    return {"object": "model.alias", **described.model_dump(mode="json")}


def _version(
    card: ModelCard,
    served: bool,
    aliases: dict[str, str],
    owner: str | None,
    state: ServerState,
) -> dict[str, Any]:
    verdict, unreadable = _verdict(card)
    training = card.training or {}
    version = Version(
        id=card.name,
        created=int(card.created),
        source=card.source,
        parent=card.parent,
        base=card.base,
        weights_version=card.weights_version,
        served=served,
        aliases=tuple(alias for alias, target in aliases.items() if target == card.name),
        training={name: training[name] for name in _TOLD_OF_TRAINING if name in training},
        verdict=verdict,
        verdict_error=unreadable,
        record=state.store.record_of(owner, card.name),
    )
    return {"object": "model.version", **version.model_dump(mode="json")}


def _verdict(card: ModelCard) -> tuple[Verdict | None, str | None]:
    try:
        return verdict_of(card), None
    except OperatorError:
        return None, "the gate's verdict can't be read"
