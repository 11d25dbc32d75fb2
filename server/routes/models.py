"""`/v1/models`: the served models, and publishing a new model to a running server."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from openai.types import Model, ModelDeleted
from pydantic import BaseModel, ConfigDict

from agentlm.server.http.body import read_model
from agentlm.server.http.openapi import answers, answers_list, reads
from agentlm.server.models.served import ServedModel
from agentlm.server.state import Admin, Caller, ServerState, State

router = APIRouter(prefix="/v1")


class PublishRequest(BaseModel):
    """The body of `POST /v1/models`."""

    model_config = ConfigDict(extra="forbid")

    name: str
    """The name of a card in the server's registry."""


@router.get("/models", responses=answers_list(Model))
async def list_models(state: State, _caller: Caller) -> dict[str, Any]:
    """Every served model, the base first, then the aliases. An alias's root is its model."""
    models = [model_object(served, state) for served in state.models.all()]
    return {"object": "list", "data": [*models, *_aliases(state)]}


@router.get("/models/{name:path}", responses=answers(Model))
async def get_model(name: str, state: State, _caller: Caller) -> dict[str, Any]:
    """One served model."""
    named = (alias for alias in _aliases(state) if alias["id"] == name)
    return next(named, None) or model_object(state.models.find(name)[0], state)


@router.post("/models", openapi_extra=reads(PublishRequest), responses=answers(Model))
async def publish_model(request: Request, state: State, _admin: Admin) -> dict[str, Any]:
    """Serve a registered card without a restart. Publishing a served model changes nothing."""
    body = await read_model(PublishRequest, request, 64 * 1024)
    return model_object(await state.publisher.publish(body.name), state)


@router.delete("/models/{name:path}", responses=answers(ModelDeleted))
async def unpublish_model(name: str, state: State, _admin: Admin) -> dict[str, Any]:
    """Stop serving an adapter or an upstream. Its card stays."""
    await state.publisher.remove(name)
    return {"id": name, "object": "model", "deleted": True}


def _aliases(state: ServerState) -> list[dict[str, Any]]:
    return [
        model_object(served, state) | {"id": alias, "root": served.name}
        for alias, served in state.models.aliases().items()
    ]


def model_object(served: ServedModel, state: ServerState) -> dict[str, Any]:
    """A model in OpenAI's format, with vLLM's additional fields."""
    return {
        "id": served.name,
        "object": "model",
        "created": int(served.card.created),
        "owned_by": served.owned_by,
        "root": served.root,
        "parent": state.models.base.name if served.adapter else served.card.parent,
        "max_model_len": served.max_model_len,
        "weights_version": served.weights_version,
    }
