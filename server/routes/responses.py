"""`/v1/responses`: the same answers as over chat completions, in items."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from openai.types.responses import Response as OpenAIResponse
from openai.types.responses import ResponseItem, ResponseStreamEvent
from pydantic import BaseModel, RootModel

from agentlm.errors import NotFoundError, RequestError
from agentlm.server.chat.choice import Choice
from agentlm.server.chat.inputs import hand_in, inputs_of
from agentlm.server.chat.once import Once
from agentlm.server.http.body import read_json
from agentlm.server.http.event_stream import ClientGone, EventStream, while_connected
from agentlm.server.http.openapi import answers, answers_list, reads
from agentlm.server.http.pages import page_of
from agentlm.server.responses.events import EventWriter, response_events
from agentlm.server.responses.items import items_of
from agentlm.server.responses.output import answer, response_object, suffix, written
from agentlm.server.responses.previous import conversation_of, find_response, read_history
from agentlm.server.responses.request import (
    RECORDED_INCLUDED,
    ResponseRequest,
    check_included,
    in_these_words,
    read_response_request,
)
from agentlm.server.routes.chat import run_headers
from agentlm.server.routes.trajectories import release
from agentlm.server.state import Caller, OwnerScope, SameWeights, ServerState, State
from agentlm.store import ApiKey
from agentlm.trajectory import Interaction, Trajectory

router = APIRouter(prefix="/v1/responses")

_JSON = "application/json"


class ResponseDeleted(BaseModel):
    """A response that is gone; the openai package has no type for it."""

    id: str
    object: Literal["response"]
    deleted: bool


@router.post(
    "",
    dependencies=[SameWeights],
    openapi_extra=reads(ResponseRequest),
    responses=answers(OpenAIResponse, RootModel[ResponseStreamEvent]),
)
async def create_response(
    request: Request,
    state: State,
    caller: Caller,
    owner: OwnerScope,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Answer a conversation, running the server's tools on the way."""
    raw = await read_json(request, state.settings.max_request_bytes)
    body = read_response_request(raw)
    once = Once.of(state.store, caller.name, idempotency_key, raw)
    if once is not None and (known := await once.known()) is not None:
        headers = {"idempotent-replayed": "true", "x-trajectory-id": await once.trajectories(known)}
        kind = "text/event-stream" if body.stream else _JSON
        return Response(known.body, known.status, headers, media_type=kind)
    try:
        with in_these_words():
            choice = await _prepare(body, state, caller, owner)
    except BaseException:
        if once is not None:
            await once.abandon()
        raise
    if body.stream:
        return _stream(state, choice, once)
    return await _whole(request, state, choice, once)


async def _prepare(
    body: ResponseRequest, state: ServerState, caller: ApiKey, owner: str | None
) -> Choice:
    asked = body.as_chat()
    history = await read_history(body, state.store, caller.name)
    inputs = inputs_of(asked.tools, state.files, owner)
    [choice] = await state.chat.prepare(asked, caller, history)
    if inputs:
        workspace = state.chat.toolbox.files(choice.trajectory.id)
        await asyncio.to_thread(hand_in, inputs, workspace)
    return choice


def _stream(state: ServerState, choice: Choice, once: Once | None) -> Response:
    writer = EventWriter(choice)
    events = state.chat.stream([choice], response_events(choice, writer))
    if once is not None:
        events = once.stream(events, [choice], lambda: writer.end)
    return EventStream(
        events,
        headers=run_headers([choice]),
        keep_alive_s=state.settings.keep_alive_s,
        failure=writer.failed,
    )


async def _whole(
    request: Request, state: ServerState, choice: Choice, once: Once | None
) -> Response:
    async def run() -> None:
        with in_these_words():
            await while_connected(request.receive, state.chat.run([choice]))

    def spell() -> str:
        return written(answer(choice, choice.take_logprobs()))

    try:
        if once is None:
            await run()
            text = spell()
        else:
            text = await once.answer(run, [choice], spell)
    except ClientGone:
        return Response(status_code=499)
    return Response(text, headers=run_headers([choice]), media_type=_JSON)


@router.get("/{response_id}", responses=answers(OpenAIResponse))
async def get_response(
    response_id: str, request: Request, state: State, owner: OwnerScope
) -> dict[str, Any]:
    """One response, as it ended."""
    _check_query(request, "include")
    include = _included(request)
    asked, trajectory = await _find(response_id, state, owner)
    return response_object(asked, trajectory, include=include)


@router.delete("/{response_id}", responses=answers(ResponseDeleted))
async def delete_response(response_id: str, state: State, owner: OwnerScope) -> dict[str, Any]:
    """Delete a response, and with it what no later one of its conversation needs."""
    asked, trajectory = await _find(response_id, state, owner)
    if not await state.store.completions.delete(asked.completion_id, owner, listed=False):
        raise _missing(response_id)
    if await asyncio.to_thread(state.store.get, trajectory.id, None) is None:
        await release(trajectory.id, state)
    return {"id": response_id, "object": "response", "deleted": True}


@router.get("/{response_id}/input_items", responses=answers_list(RootModel[ResponseItem]))
async def list_input_items(
    response_id: str,
    request: Request,
    state: State,
    owner: OwnerScope,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """What was said to the model: the whole conversation before the answer."""
    _check_query(request, "after", "limit", "order")
    asked, _ = await _find(response_id, state, owner)
    items = list(items_of(conversation_of(asked), suffix(asked.completion_id) + "_in"))
    if order == "desc":
        items.reverse()
    return page_of(items, after=after, limit=limit)


async def _find(
    response_id: str, state: ServerState, owner: str | None
) -> tuple[Interaction, Trajectory]:
    asked = await find_response(response_id, state.store, owner, "response_id")
    trajectory = await asyncio.to_thread(state.store.get, asked.trajectory_id, owner)
    if trajectory is None or not asked.messages:
        raise _missing(response_id)
    return asked, trajectory


def _check_query(request: Request, *known: str) -> None:
    """Raises RequestError for what would change the answer and is not read."""
    for name, value in request.query_params.items():
        plain = name.removesuffix("[]")[:64]
        if plain not in known and (plain, value) != ("stream", "false"):
            raise RequestError(f"{plain} is not supported here", param=plain)


def _included(request: Request) -> list[str]:
    """What a look-up tells beside the answer. Raises RequestError for what is not in the log."""
    query = request.query_params
    names = [*query.getlist("include"), *query.getlist("include[]")]
    check_included(names, RECORDED_INCLUDED)
    return names


def _missing(response_id: str) -> NotFoundError:
    return NotFoundError(f"no response {response_id[:128]!r}", param="response_id")
