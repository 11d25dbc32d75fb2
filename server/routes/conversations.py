"""`/v1/conversations`: named conversations and their items."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from openai.types.conversations import Conversation as OpenAIConversation
from openai.types.conversations import ConversationDeletedResource, ConversationItem
from pydantic import BaseModel, ConfigDict, Field, RootModel

from agentlm.errors import NotFoundError
from agentlm.server.http.body import read_model
from agentlm.server.http.openapi import answers, answers_list, reads
from agentlm.server.http.pages import check_query, page, page_of
from agentlm.server.openai.wire import Metadata
from agentlm.server.responses.conversations import check_keeps, kept_items
from agentlm.server.responses.request.files import TextFiles
from agentlm.server.state import Caller, OwnerScope, State
from agentlm.store import NamedConversation

router = APIRouter(prefix="/v1/conversations")

_Items = Annotated[list[Any], Field(max_length=16_384)]


class NewConversation(BaseModel):
    """The first items and the metadata."""

    model_config = ConfigDict(extra="forbid")

    items: _Items | None = None
    metadata: Metadata | None = None


class ConversationUpdate(BaseModel):
    """The new metadata, which replaces the old."""

    model_config = ConfigDict(extra="forbid")

    metadata: Metadata | None


class NewItems(BaseModel):
    """Items to add at the end."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[_Items, Field(min_length=1)]


@router.post("", openapi_extra=reads(NewConversation), responses=answers(OpenAIConversation))
async def create_conversation(
    request: Request, state: State, caller: Caller, owner: OwnerScope
) -> dict[str, Any]:
    """Begin a named conversation."""
    check_keeps(caller)
    body = await read_model(NewConversation, request, state.settings.max_request_bytes)
    reading = TextFiles(state.files, owner, state.settings.max_request_bytes)
    items = kept_items(await reading.read_into(body.items, "items") or (), "items")
    return _conversation_object(
        await state.store.conversations.create(caller.name, body.metadata or {}, items)
    )


@router.get("/{conversation_id}", responses=answers(OpenAIConversation))
async def get_conversation(conversation_id: str, state: State, owner: OwnerScope) -> dict[str, Any]:
    """One conversation."""
    get = state.store.conversations.get
    return _conversation_object(await asyncio.to_thread(get, conversation_id, owner))


@router.post(
    "/{conversation_id}",
    openapi_extra=reads(ConversationUpdate),
    responses=answers(OpenAIConversation),
)
async def update_conversation(
    conversation_id: str, request: Request, state: State, owner: OwnerScope
) -> dict[str, Any]:
    """Replace a conversation's metadata."""
    body = await read_model(ConversationUpdate, request, 64 * 1024)
    update = state.store.conversations.update
    return _conversation_object(await update(conversation_id, owner, body.metadata or {}))


@router.delete("/{conversation_id}", responses=answers(ConversationDeletedResource))
async def delete_conversation(
    conversation_id: str, state: State, owner: OwnerScope
) -> dict[str, Any]:
    """Delete a conversation's name and items. Its answers stay in the log."""
    await state.store.conversations.delete(conversation_id, owner)
    return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}


@router.get("/{conversation_id}/items", responses=answers_list(RootModel[ConversationItem]))
async def list_items(
    conversation_id: str,
    request: Request,
    state: State,
    owner: OwnerScope,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """The items of a conversation."""
    check_query(request, "after", "limit", "order")
    items = await _items(conversation_id, state, owner)
    if order == "desc":
        items.reverse()
    return page_of(items, after=after, limit=limit)


@router.post(
    "/{conversation_id}/items",
    openapi_extra=reads(NewItems),
    responses=answers_list(RootModel[ConversationItem]),
)
async def add_items(
    conversation_id: str, request: Request, state: State, caller: Caller, owner: OwnerScope
) -> dict[str, Any]:
    """Add items at the end of a conversation."""
    check_keeps(caller)
    check_query(request)
    body = await read_model(NewItems, request, state.settings.max_request_bytes)
    conversations = state.store.conversations
    before = await asyncio.to_thread(conversations.items, conversation_id, owner)
    reading = TextFiles(state.files, owner, state.settings.max_request_bytes)
    items = kept_items(await reading.read_into(body.items, "items"), "items", before)
    await conversations.add(conversation_id, owner, items)
    return page(items, has_more=False)


@router.get("/{conversation_id}/items/{item_id}", responses=answers(RootModel[ConversationItem]))
async def get_item(
    conversation_id: str, item_id: str, request: Request, state: State, owner: OwnerScope
) -> dict[str, Any]:
    """One item of a conversation."""
    check_query(request)
    items = await _items(conversation_id, state, owner)
    item_object = next((item for item in items if item["id"] == item_id), None)
    if item_object is None:
        raise NotFoundError(f"no item {item_id[:128]!r}", param="item_id")
    return item_object


@router.delete("/{conversation_id}/items/{item_id}", responses=answers(OpenAIConversation))
async def delete_item(
    conversation_id: str, item_id: str, state: State, owner: OwnerScope
) -> dict[str, Any]:
    """Delete an item. The next answer of the conversation then begins a new trajectory."""
    return _conversation_object(
        await state.store.conversations.remove(conversation_id, owner, item_id)
    )


async def _items(conversation_id: str, state: State, owner: str | None) -> list[dict[str, Any]]:
    items = await asyncio.to_thread(state.store.conversations.items, conversation_id, owner)
    return [item.body for item in items]


def _conversation_object(named: NamedConversation) -> dict[str, Any]:
    return {
        "id": named.id,
        "object": "conversation",
        "created_at": int(named.created),
        "metadata": named.metadata,
    }
