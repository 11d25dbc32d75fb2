"""Stored completions: those with `store: true`, which can be listed, tagged and deleted."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from openai.types.chat import ChatCompletion, ChatCompletionDeleted
from pydantic import BaseModel, ConfigDict

from agentlm.errors import NotFoundError
from agentlm.messages import Message, Role
from agentlm.openai_messages import write_message
from agentlm.server.http.body import read_model
from agentlm.server.http.openapi import answers, answers_list, reads
from agentlm.server.http.pages import page, page_of
from agentlm.server.openai.answers import finished_choice, usage
from agentlm.server.openai.wire import Metadata
from agentlm.server.routes.trajectories import release
from agentlm.server.state import OwnerScope, State
from agentlm.store import Completion

router = APIRouter(prefix="/v1/chat/completions")


class UpdateRequest(BaseModel):
    """The fields of a stored completion that can be changed."""

    model_config = ConfigDict(extra="forbid")

    metadata: Metadata


class StoredMessage(BaseModel):
    """A message of a stored completion. OpenAI's own type allows the assistant's only."""

    id: str
    role: Role
    content: str | None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


@router.get("", responses=answers_list(ChatCompletion))
async def list_completions(
    request: Request,
    state: State,
    owner: OwnerScope,
    model: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "asc",
) -> dict[str, Any]:
    """Stored completions in the order of creation. `metadata[name]=value` filters them."""
    completions, has_more = await asyncio.to_thread(
        state.store.completions.page,
        owner,
        limit=limit,
        after=after,
        model=model,
        metadata=metadata_filter(request),
        newest_first=order == "desc",
    )
    return page([_completion(each) for each in completions], has_more=has_more)


@router.get("/{completion_id}", responses=answers(ChatCompletion))
async def get_completion(completion_id: str, state: State, owner: OwnerScope) -> dict[str, Any]:
    """One stored completion."""
    return _completion(await _find(completion_id, state, owner))


@router.get("/{completion_id}/messages", responses=answers_list(StoredMessage))
async def list_messages(
    completion_id: str,
    state: State,
    owner: OwnerScope,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "asc",
) -> dict[str, Any]:
    """The messages of a stored completion's request."""
    completion = await _find(completion_id, state, owner)
    messages = [
        _message(message, f"{completion_id}-{index}")
        for index, message in enumerate(completion.choices[0].messages)
    ]
    if order == "desc":
        messages.reverse()
    return page_of(messages, after=after, limit=limit)


@router.post(
    "/{completion_id}", openapi_extra=reads(UpdateRequest), responses=answers(ChatCompletion)
)
async def update_completion(
    completion_id: str, request: Request, state: State, owner: OwnerScope
) -> dict[str, Any]:
    """Replace a stored completion's metadata."""
    body = await read_model(UpdateRequest, request, 64 * 1024)
    return _completion(await state.store.completions.update(completion_id, owner, body.metadata))


@router.delete("/{completion_id}", responses=answers(ChatCompletionDeleted))
async def delete_completion(completion_id: str, state: State, owner: OwnerScope) -> dict[str, Any]:
    """Delete a stored completion, with everything that no later one needs."""
    completion = await _find(completion_id, state, owner)
    if not await state.store.completions.delete(completion_id, owner):
        raise _missing(completion_id)
    for trajectory_id in {choice.trajectory_id for choice in completion.choices}:
        if await asyncio.to_thread(state.store.get, trajectory_id, None) is None:
            await release(trajectory_id, state)
    return {"id": completion_id, "object": "chat.completion.deleted", "deleted": True}


async def _find(completion_id: str, state: State, owner: str | None) -> Completion:
    completion = await asyncio.to_thread(state.store.completions.get, completion_id, owner)
    if completion is None:
        raise _missing(completion_id)
    return completion


def _missing(completion_id: str) -> NotFoundError:
    return NotFoundError(f"no stored completion {completion_id!r}", param="completion_id")


def metadata_filter(request: Request) -> dict[str, str]:
    """The conditions in a list's `metadata[name]=value` parameters."""
    prefix = "metadata["
    return {
        name.removeprefix(prefix).removesuffix("]"): value
        for name, value in request.query_params.items()
        if name.startswith(prefix) and name.endswith("]")
    }


def _completion(completion: Completion) -> dict[str, Any]:
    first = completion.choices[0]
    return {
        "id": completion.id,
        "object": "chat.completion",
        "created": int(first.created),
        "model": completion.model,
        "metadata": first.metadata,
        "choices": [
            finished_choice(choice.choice, choice.response, choice.finish_reason)
            for choice in completion.choices
        ],
        "usage": usage([choice.usage for choice in completion.choices]),
    }


def _message(message: Message, identity: str) -> dict[str, Any]:
    return {"id": identity, **write_message(message), "content": message.content}
