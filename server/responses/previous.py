"""The answer that a request goes on from by its id, and what was said up to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentlm.agent.tool import ToolContext
from agentlm.errors import NotFoundError, RequestError
from agentlm.messages import Message
from agentlm.server.chat.request import History
from agentlm.server.openai.ids import completion_of
from agentlm.server.responses.conversations import Named, waiting
from agentlm.server.responses.items import REFERENCE, Conversation
from agentlm.server.responses.mcp import bring, make_approved
from agentlm.server.responses.output import response_object
from agentlm.server.responses.request import ResponseRequest
from agentlm.server.responses.sealed import Sealed, Seals, Summary, handed_back
from agentlm.store import Store
from agentlm.tools.toolbox import Toolbox
from agentlm.trajectory import Interaction

_NOT_FOUND = "previous_response_not_found"
_ASKED = "What the user said before:"
_IN_SHORT = "What was said before by all, in short:"


@dataclass(frozen=True)
class Remembered:
    """An answer that the log does not keep, as long as its connection lasts."""

    asked: Interaction
    sealed: Sealed


async def read_history(
    body: ResponseRequest,
    store: Store,
    seals: Seals,
    toolbox: Toolbox,
    owner: str,
    named: Named | None = None,
    remembered: Remembered | None = None,
    *,
    asked_only: bool = False,
) -> History:
    """The whole conversation that a request is about, after the calls were made that it approves.

    `named` is what it goes on from by name; `asked_only`: nothing may be made for it.

    Instructions are each request's own: those of the answer before do not carry over. Raises
    NotFoundError for an answer that is not there or another's, RequestError for items out of order.
    """
    said, after = Conversation(), None
    if body.instructions is not None:
        said.messages.append(Message(role="system", content=body.instructions))
    last = _is_named(remembered, body.previous_response_id)
    if last is not None:
        heard = [*conversation_of(last.asked), last.asked.response]
        said.add_recorded(heard, "previous_response_id")
    elif body.previous_response_id is not None:
        after = await _previous(body.previous_response_id, store, owner)
        heard = [*conversation_of(after), after.response]
        said.add_recorded(heard, "previous_response_id")
    elif named is not None:
        after = await _add_named(said, named, store, owner)
    said.sealed.clear()  # of a named conversation, which the log keeps
    said.add(await _resolved(body.input or (), store, owner))
    sealed = [seals.unseal(Sealed, text, owner, place) for place, text in said.sealed.items()]
    sealed += [last.sealed] if last else []
    for index, (place, text) in said.compacted.items():
        before = seals.unseal(Summary, text, owner, place)
        told = "\n\n".join([_ASKED, *before.asked, _IN_SHORT, before.summary])
        said.messages[index] = Message(role="system", content=told)
    said.check_answered()
    if not said.messages:
        raise RequestError("input: says nothing", param="input")
    if said.approved and asked_only:
        raise RequestError(
            "input: what an approved call gives is not known before it is made", param="input"
        )
    brought = await bring(body.servers(), toolbox)
    context = ToolContext(after.trajectory_id if after else "", owner)
    approved = await make_approved(said, brought, toolbox, context)
    return History(
        tuple(said.messages),
        after,
        body.echo() | {"include": body.include, "approved": approved},
        handed_back=handed_back(sealed),
        watched=body.background,
        brought=brought,
    )


def _is_named(remembered: Remembered | None, response_id: str | None) -> Remembered | None:
    if remembered is None or response_id is None:
        return None
    return remembered if completion_of(response_id) == remembered.asked.completion_id else None


async def _resolved(given: str | Sequence[Any], store: Store, owner: str) -> str | Sequence[Any]:
    """The input with the items themselves where it names them by their ids."""
    if isinstance(given, str):
        return given
    items: list[Any] = []
    known: dict[str, list[dict[str, Any]]] = {}
    for index, item in enumerate(given):
        named = isinstance(item, dict) and not item.keys() & {"role", "content"}
        if named and item.get("type", REFERENCE) in (REFERENCE, None):
            item = await _find_item(item.get("id"), known, store, owner, f"input[{index}].id")
        items.append(item)
    return items


async def _find_item(
    identity: Any, known: dict[str, list[dict[str, Any]]], store: Store, owner: str, param: str
) -> dict[str, Any]:
    """One that an answer gave; `known` are those of the answers that were looked at."""
    shape = _ITEM_ID.fullmatch(identity) if isinstance(identity, str) else None
    if shape is not None and shape[1] not in known:
        asked = await find_response(f"resp_{shape[1]}", store, owner, param)
        trajectory = await asyncio.to_thread(store.get, asked.trajectory_id, owner)
        given = response_object(asked, trajectory)["output"] if trajectory else []
        known[shape[1]] = given
    found = [item for item in known[shape[1]] if item["id"] == identity] if shape else []
    if not found:
        raise NotFoundError(f"no item {str(identity)[:128]!r}", param=param)
    return found[0]


_ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]{32})_\d+")
"""Of an item of an answer, with what its answer is known by."""


def conversation_of(asked: Interaction) -> tuple[Message, ...]:
    """What was said to the model, without the request's own instructions."""
    own = asked.echo.get("instructions") is not None
    return asked.messages[1:] if own else asked.messages


async def find_response(
    response_id: str, store: Store, owner: str | None, param: str
) -> Interaction:
    """Raises NotFoundError for what is not there or another's, or was not kept."""
    completion_id = completion_of(response_id)
    found = []
    if completion_id != response_id:
        found = await asyncio.to_thread(store.by_completion, completion_id, owner)
    if len(found) != 1:  # of several choices none is the answer
        raise NotFoundError(
            f"no response {response_id[:128]!r}",
            param=param,
            code=_NOT_FOUND if param == "previous_response_id" else None,
        )
    return found[0]


async def _add_named(
    said: Conversation, named: Named, store: Store, owner: str
) -> Interaction | None:
    """Add what was said in a conversation; returns the answer that it goes on from."""
    header, items = named
    after = None
    if header.last is not None:
        found = await asyncio.to_thread(store.by_completion, header.last, owner)
        after = found[0] if found else None
    if after is not None and not header.edited:
        said.add_recorded([*conversation_of(after), after.response], "conversation")
        items = waiting(items)
    said.add([item.body for item in items], "conversation")
    return after


async def _previous(response_id: str, store: Store, owner: str) -> Interaction:
    param = "previous_response_id"
    found = await find_response(response_id, store, owner, param)
    if not found.messages:
        raise RequestError(
            f"{response_id!r} was not kept (store: false): send its items again instead",
            param=param,
            code=_NOT_FOUND,
        )
    if found.finish_reason is None:
        raise RequestError(
            f"{response_id!r} has no whole answer to go on from: it runs still, was cancelled, or "
            "failed",
            param=param,
        )
    return found
