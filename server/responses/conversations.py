"""A named conversation on this wire: requests that go on from it, and its items as kept."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Any

from openai.types.conversations import ConversationItem
from pydantic import TypeAdapter, ValidationError

from agentlm.errors import ForbiddenError, RequestError
from agentlm.server.responses.items import Conversation, item_kind, items_of
from agentlm.server.responses.namespace import NAMESPACE
from agentlm.server.responses.request.body import ResponseRequest
from agentlm.store import ApiKey, Item, NamedConversation, Store

Named = tuple[NamedConversation, Sequence[Item]]
_ITEM: TypeAdapter[Any] = TypeAdapter(ConversationItem)
_REWRITTEN = ("message", "function_call", "function_call_output")
"""Types of items that are kept as this server writes them, the others as they came."""


@asynccontextmanager
async def claimed(
    body: ResponseRequest, store: Store, caller: ApiKey
) -> AsyncIterator[Named | None]:
    """The conversation that a request goes on from. It is given up if the body of this block fails.

    Raises NotFoundError, ConflictError while another request goes on from it, and RequestError for
    a request that is not to be kept.
    """
    if body.conversation_id is None:
        yield None
        return
    if not body.store:
        raise RequestError(
            "a conversation keeps what is said in it: store must be true", param="store"
        )
    check_keeps(caller)
    named = await store.conversations.claim(body.conversation_id, caller.name)
    try:
        yield named
    except BaseException:
        await asyncio.shield(store.conversations.give_up(body.conversation_id))
        raise


def check_keeps(caller: ApiKey) -> None:
    """Raises ForbiddenError for a key whose texts are not kept."""
    if caller.log != "full":
        raise ForbiddenError(
            f"a conversation keeps what is said in it, and of the key {caller.name!r} no text is "
            "kept: send the items again, with what include 'reasoning.encrypted_content' gives",
            param="conversation",
        )


async def looked_at(body: ResponseRequest, store: Store, owner: str) -> Named | None:
    """The same without claiming it."""
    identity = body.conversation_id
    if identity is None:
        return None
    header = await asyncio.to_thread(store.conversations.get, identity, owner)
    return header, await asyncio.to_thread(store.conversations.items, identity, owner)


def waiting(items: Sequence[Item]) -> list[Item]:
    """Items that were added since the last answer."""
    return list(takewhile(lambda item: not item.answered, reversed(items)))[::-1]


def kept_items(
    added: str | Sequence[Any], place: str, before: Sequence[Item] = ()
) -> tuple[dict[str, Any], ...]:
    """Items that a client adds after others, in the form in which they are kept, each with its own
    id.

    Raises RequestError for an item that is invalid in its place.
    """
    items = [{"role": "user", "content": added}] if isinstance(added, str) else added
    conversation = Conversation()
    conversation.add([item.body for item in before], "conversation")
    conversation.add(items, place)
    return tuple(_kept(item, f"{place}[{index}]") for index, item in enumerate(items))


def _kept(item: dict[str, Any], place: str) -> dict[str, Any]:
    kept = next(_read(item, place), None) or _as_it_is(item, place)
    prefix = str(kept["id"]).partition("_")[0][:16]
    return kept | {"id": f"{prefix}_{uuid.uuid4().hex}"}


def _read(item: dict[str, Any], place: str) -> Iterator[dict[str, Any]]:
    """The item in this server's form; nothing for an item that only the record knows."""
    kind = item_kind(item, place)
    if kind not in _REWRITTEN:
        return iter(())
    alone = Conversation()
    if kind == "function_call_output":
        alone.calls.add(item["call_id"])
        alone.open[item["call_id"]] = place
    alone.add([item], place)
    tools = [{"type": NAMESPACE, "name": item["namespace"]}] if item.get("namespace") else []
    return items_of(alone.messages, "new", tools)


def _as_it_is(item: dict[str, Any], place: str) -> dict[str, Any]:
    fields = {name: value for name, value in item.items() if value is not None} | {"id": "item_new"}
    try:
        kept: dict[str, Any] = _ITEM.validate_python(fields).model_dump(
            mode="json", exclude_unset=True
        )
    except ValidationError:
        kind = str(item.get("type"))
        raise RequestError(f"{place}: it is no whole item of type {kind!r}", param=place) from None
    return kept
