"""The answer that a request goes on from by its id, and the conversation up to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentlm.errors import NotFoundError, RequestError
from agentlm.messages import Message
from agentlm.server.chat.request import History
from agentlm.server.openai.ids import completion_of
from agentlm.server.responses.conversations import Named, waiting
from agentlm.server.responses.items import REFERENCE, Conversation
from agentlm.server.responses.mcp import bring
from agentlm.server.responses.output import response_object
from agentlm.server.responses.request.body import ResponseRequest
from agentlm.server.responses.sealed import Sealed, Seals, Summary, handed_back
from agentlm.store import Store
from agentlm.tools.toolbox import Toolbox
from agentlm.trajectory import Interaction

_NOT_FOUND = "previous_response_not_found"
_ASKED = "What the user said before:"
_IN_SHORT = "What was said before by all, in short:"


@dataclass(frozen=True)
class Remembered:
    """An answer that the log does not keep. It lives as long as its connection."""

    interaction: Interaction
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
    read_only: bool = False,
) -> History:
    """The whole conversation of a request, without the results of the calls that it approves.

    `named` is the named conversation that it goes on from. With `read_only`, no call may be made.

    Instructions belong to one request: those of earlier answers do not carry over. Raises
    NotFoundError for an answer that doesn't exist or is another owner's, RequestError for items out
    of order.
    """
    conversation, after = Conversation(), None
    if body.instructions is not None:
        conversation.messages.append(Message(role="system", content=body.instructions))
    last = _is_named(remembered, body.previous_response_id)
    if last is not None:
        heard = [*conversation_of(last.interaction), last.interaction.response]
        conversation.add_recorded(heard, "previous_response_id")
    elif body.previous_response_id is not None:
        after = await _previous(body.previous_response_id, store, owner)
        heard = [*conversation_of(after), after.response]
        conversation.add_recorded(heard, "previous_response_id")
    elif named is not None:
        after = await _add_named(conversation, named, store, owner)
    conversation.sealed.clear()  # those of a named conversation, which the log keeps
    conversation.add(await _resolved(body.input or (), store, owner))
    sealed = [
        seals.unseal(Sealed, text, owner, place) for place, text in conversation.sealed.items()
    ]
    sealed += [last.sealed] if last else []
    for index, (place, text) in conversation.compacted.items():
        before = seals.unseal(Summary, text, owner, place)
        summary_text = "\n\n".join([_ASKED, *before.asked, _IN_SHORT, before.summary])
        conversation.messages[index] = Message(role="system", content=summary_text)
    conversation.check_answered()
    if not conversation.messages:
        raise RequestError("input: says nothing", param="input")
    if conversation.approved and read_only:
        raise RequestError(
            "input: what an approved call gives is not known before it is made", param="input"
        )
    # Before `echo`, which reads the same fields and knows no places for errors.
    brought = await bring(body.servers(), toolbox)
    return History(
        tuple(conversation.messages),
        after,
        body.echo() | {"include": body.include},
        handed_back=handed_back(sealed),
        watched=body.background,
        brought=brought,
        approved=conversation.approved_calls(),
        may_be_shortened=body.truncation == "auto",
    )


def _is_named(remembered: Remembered | None, response_id: str | None) -> Remembered | None:
    if remembered is None or response_id is None:
        return None
    return (
        remembered if completion_of(response_id) == remembered.interaction.completion_id else None
    )


async def _resolved(
    input_items: str | Sequence[Any], store: Store, owner: str
) -> str | Sequence[Any]:
    """The input, with each reference replaced by the item itself."""
    if isinstance(input_items, str):
        return input_items
    items: list[Any] = []
    known: dict[str, list[dict[str, Any]]] = {}
    for index, item in enumerate(input_items):
        named = isinstance(item, dict) and not item.keys() & {"role", "content"}
        if named and item.get("type", REFERENCE) in (REFERENCE, None):
            item = await _find_item(item.get("id"), known, store, owner, f"input[{index}].id")
        items.append(item)
    return items


async def _find_item(
    identity: Any, known: dict[str, list[dict[str, Any]]], store: Store, owner: str, param: str
) -> dict[str, Any]:
    """An item of an answer. `known` has the items of the answers that were looked up."""
    shape = _ITEM_ID.fullmatch(identity) if isinstance(identity, str) else None
    if shape is not None and shape[1] not in known:
        interaction = await find_response(f"resp_{shape[1]}", store, owner, param)
        trajectory = await asyncio.to_thread(store.get, interaction.trajectory_id, owner)
        output_items = response_object(interaction, trajectory)["output"] if trajectory else []
        known[shape[1]] = output_items
    matches = [item for item in known[shape[1]] if item["id"] == identity] if shape else []
    if not matches:
        raise NotFoundError(f"no item {str(identity)[:128]!r}", param=param)
    return matches[0]


_ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]{32})_\d+")
"""The id of an answer's item, from which the answer's id is derived."""


def conversation_of(interaction: Interaction) -> tuple[Message, ...]:
    """The conversation without the request's own instructions."""
    own = interaction.echo.get("instructions") is not None
    return interaction.messages[1:] if own else interaction.messages


async def find_response(
    response_id: str, store: Store, owner: str | None, param: str
) -> Interaction:
    """Raises NotFoundError for an answer that doesn't exist, is another owner's, or was not
    kept."""
    completion_id = completion_of(response_id)
    choices = []
    if completion_id != response_id:
        choices = await asyncio.to_thread(store.by_completion, completion_id, owner)
    if len(choices) != 1:  # with several choices none is the answer
        raise NotFoundError(
            f"no response {response_id[:128]!r}",
            param=param,
            code=_NOT_FOUND if param == "previous_response_id" else None,
        )
    return choices[0]


async def _add_named(
    conversation: Conversation, named: Named, store: Store, owner: str
) -> Interaction | None:
    """Add the items of a named conversation. Returns the answer that it goes on from."""
    header, items = named
    after = None
    if header.last is not None:
        choices = await asyncio.to_thread(store.by_completion, header.last, owner)
        after = choices[0] if choices else None
    if after is not None and not header.edited:
        conversation.add_recorded([*conversation_of(after), after.response], "conversation")
        items = waiting(items)
    conversation.add([item.body for item in items], "conversation")
    return after


async def _previous(response_id: str, store: Store, owner: str) -> Interaction:
    param = "previous_response_id"
    interaction = await find_response(response_id, store, owner, param)
    if not interaction.messages:
        raise RequestError(
            f"{response_id!r} was not kept (store: false): send its items again instead",
            param=param,
            code=_NOT_FOUND,
        )
    if interaction.finish_reason is None:
        raise RequestError(
            f"{response_id!r} has no whole answer to go on from: it still runs, was cancelled, or "
            "failed",
            param=param,
        )
    return interaction
