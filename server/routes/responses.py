"""`/v1/responses`: the same answers as in chat completions, as items."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from openai.types.responses import (
    CompactedResponse,
    InputTokenCountResponse,
    ResponseItem,
    ResponseStreamEvent,
)
from openai.types.responses import Response as OpenAIResponse
from pydantic import BaseModel, RootModel

from agentlm.errors import ConflictError, NotFoundError, RequestError
from agentlm.server.chat.choice import Choice
from agentlm.server.chat.inputs import hand_in, inputs_of
from agentlm.server.chat.once import Once
from agentlm.server.http.body import read_json
from agentlm.server.http.event_stream import ClientGone, EventStream, while_connected
from agentlm.server.http.openapi import answers, answers_list, reads
from agentlm.server.http.pages import check_query, page_of
from agentlm.server.openai.answers import DONE
from agentlm.server.openai.ids import completion_of, response_of
from agentlm.server.responses.compact import compacted, read_compact_request, summary_of, with_order
from agentlm.server.responses.conversations import claimed, kept_items, looked_at
from agentlm.server.responses.events import EventWriter, response_events
from agentlm.server.responses.items import items_of
from agentlm.server.responses.output import answer, response_object, suffix, written
from agentlm.server.responses.previous import (
    Remembered,
    conversation_of,
    find_response,
    read_history,
)
from agentlm.server.responses.replay import Replay, is_running
from agentlm.server.responses.request.body import (
    ENCRYPTED,
    RECORDED_INCLUDED,
    ResponseRequest,
    check_included,
    read_count_request,
    read_response_request,
)
from agentlm.server.responses.request.files import TextFiles
from agentlm.server.responses.request.words import in_these_words
from agentlm.server.responses.sealed import Sealed, without_odds
from agentlm.server.routes.chat import run_headers
from agentlm.server.routes.trajectories import release
from agentlm.server.state import Caller, OwnerScope, SameWeights, ServerState, State
from agentlm.store import ApiKey
from agentlm.trajectory import Interaction, Outcome, Trajectory

router = APIRouter(prefix="/v1/responses")

_JSON = "application/json"


class ResponseDeleted(BaseModel):
    """A deleted response; the openai package has no type for it."""

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
    """Answer a conversation. The server's tools run during the answer."""
    raw = await read_json(request, state.settings.max_request_bytes)
    body = read_response_request(raw)
    if body.background and caller.log != "full":
        raise RequestError("background needs a key whose log is full", param="background")
    once = Once.of(state.store, caller.name, idempotency_key, raw)
    if once is not None and (known := await once.known()) is not None:
        headers = {"idempotent-replayed": "true", "x-trajectory-id": await once.trajectories(known)}
        if body.background and body.stream:
            return _follow(state, once.answer_id(known), owner, Replay())
        kind = "text/event-stream" if body.stream else _JSON
        return Response(known.body, known.status, headers, media_type=kind)
    try:
        with in_these_words():
            choice = await prepare(body, state, caller, owner)
    except BaseException:
        if once is not None:
            await once.abandon()
        raise
    if body.background:
        return await _in_background(body, state, choice, owner, once)
    if body.stream:
        return _stream(state, choice, once)
    return await _whole(request, state, choice, once)


async def prepare(
    body: ResponseRequest,
    state: ServerState,
    caller: ApiKey,
    owner: str | None,
    remembered: Remembered | None = None,
) -> Choice:
    """Find where a request goes on, and make its choice. Raises RequestError."""
    chat_request = body.as_chat()
    body = await _with_files(body, state, owner)
    async with claimed(body, state.store, caller) as named:
        history = await read_history(
            body, state.store, state.seals, state.chat.toolbox, caller.name, named, remembered
        )
        inputs = inputs_of(chat_request.tools, state.files, owner)
        [choice] = await state.chat.prepare(chat_request, caller, history)
        if named is not None:
            choice.conversation_id = body.conversation_id
            new_items = kept_items(body.input or (), "input", named[1])
            choice.items = lambda: (*new_items, *answer(choice, ())["output"])
        if ENCRYPTED in body.include:
            choice.sealed = cache(lambda: state.seals.seal(_sealed(choice), caller.name))
        if inputs:
            workspace = state.chat.toolbox.files(choice.trajectory.id)
            await asyncio.to_thread(hand_in, inputs, workspace)
    return choice


async def _with_files(
    body: ResponseRequest, state: ServerState, owner: str | None
) -> ResponseRequest:
    reading = TextFiles(state.files, owner, state.settings.max_request_bytes)
    return body.model_copy(update={"input": await reading.read_into(body.input)})


def _sealed(choice: Choice) -> Sealed:
    """The content of the seal for the client of an answer."""
    beginning = choice.beginning
    steps = tuple(map(without_odds, choice.transcript.steps[beginning.restored :]))
    return Sealed(key=choice.key(), after=beginning.restored_key, steps=steps)


@router.post(
    "/compact",
    dependencies=[SameWeights],
    openapi_extra=reads(ResponseRequest),
    responses=answers(CompactedResponse),
)
async def compact(request: Request, state: State, caller: Caller, owner: OwnerScope) -> Response:
    """Let the model summarise a conversation, for its client to go on from."""
    body = read_compact_request(await read_json(request, state.settings.max_request_bytes))
    with in_these_words():
        body = await _with_files(body, state, owner)
        chat_request = body.as_chat()
        history = await read_history(
            body, state.store, state.seals, state.chat.toolbox, caller.name, read_only=True
        )
        [choice] = await state.chat.prepare(chat_request, caller, with_order(history))
        try:
            await while_connected(request.receive, state.chat.run([choice]))
        except ClientGone:
            return Response(status_code=499)
    sealed = state.seals.seal(summary_of(choice, history), caller.name)
    text = written(compacted(choice, sealed))
    return Response(text, headers=run_headers([choice]), media_type=_JSON)


@router.post(
    "/input_tokens",
    openapi_extra=reads(ResponseRequest),
    responses=answers(InputTokenCountResponse),
)
async def count_input_tokens(
    request: Request, state: State, caller: Caller, owner: OwnerScope
) -> dict[str, Any]:
    """Number of prompt tokens of a request, including the recorded conversation."""
    raw = await read_json(request, state.settings.max_request_bytes)
    body = read_count_request(raw, state.models.default.name)
    with in_these_words():
        body = await _with_files(body, state, owner)
        chat_request = body.as_chat()
        named = await looked_at(body, state.store, caller.name)
        history = await read_history(
            body, state.store, state.seals, state.chat.toolbox, caller.name, named, read_only=True
        )
        count = await state.chat.count(chat_request, caller, history)
    return {"object": "response.input_tokens", "input_tokens": count}


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


async def _in_background(
    body: ResponseRequest,
    state: ServerState,
    choice: Choice,
    owner: str | None,
    once: Once | None,
) -> Response:
    text = written(answer(choice, ()))
    if once is not None:
        once.keep_at_once(choice, lambda: text)
    try:
        await state.background.start(choice)
    except BaseException:
        if once is not None:
            await once.abandon()
        if choice.conversation_id is not None:
            await asyncio.shield(state.store.conversations.give_up(choice.conversation_id))
        raise
    if body.stream:
        identity = response_of(choice.request.completion_id)
        return _follow(state, identity, owner, Replay(), body.include, run_headers([choice]))
    return Response(text, headers=run_headers([choice]), media_type=_JSON)


def _follow(
    state: ServerState,
    response_id: str,
    owner: str | None,
    replay: Replay,
    include: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The events of a response from the log, to its end. A client that leaves does not end it."""

    async def events() -> AsyncGenerator[bytes, None]:
        completion_id = completion_of(response_id)
        running = True
        while running:
            news = asyncio.ensure_future(state.background.changed(completion_id))
            try:
                interaction, trajectory = await _find(response_id, state, owner)
                response = response_object(interaction, trajectory, include=include)
                for event in replay.tell(response):
                    yield event
                running = is_running(response)
                if running:
                    await news
            finally:
                news.cancel()
        yield DONE

    return EventStream(
        events(),
        headers=headers or {},
        keep_alive_s=state.settings.keep_alive_s,
        failure=replay.broken,
    )


@router.get("/{response_id}", responses=answers(OpenAIResponse, followed=True))
async def get_response(
    response_id: str,
    request: Request,
    state: State,
    owner: OwnerScope,
    stream: bool = False,
    starting_after: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """One response as far as it has come, or all of its events."""
    check_query(request, "include", "stream", "starting_after")
    if starting_after is not None and not stream:
        raise RequestError("starting_after needs stream to be true", param="starting_after")
    include = _included(request)
    interaction, trajectory = await _find(response_id, state, owner)
    if stream:
        return _follow(state, response_id, owner, Replay(starting_after), include)
    text = written(response_object(interaction, trajectory, include=include))
    return Response(text, media_type=_JSON)


@router.post("/{response_id}/cancel", responses=answers(OpenAIResponse))
async def cancel_response(response_id: str, state: State, owner: OwnerScope) -> dict[str, Any]:
    """Cancel a response that runs in the background. A finished one is returned unchanged."""
    interaction, _ = await _find(response_id, state, owner)
    if not interaction.echo.get("background"):
        raise RequestError(
            f"{response_id!r} does not run in the background: close its request to end it",
            param="response_id",
        )
    await state.background.cancel(interaction.completion_id)
    response = response_object(*await _find(response_id, state, owner))
    if is_running(response):
        raise ConflictError(f"{response_id!r} runs on another server", param="response_id")
    return response


@router.delete("/{response_id}", responses=answers(ResponseDeleted))
async def delete_response(response_id: str, state: State, owner: OwnerScope) -> dict[str, Any]:
    """Delete a response, with everything that no later one of its conversation needs."""
    interaction, trajectory = await _find(response_id, state, owner)
    await state.background.cancel(interaction.completion_id)
    if not await state.store.completions.delete(interaction.completion_id, owner, listed=False):
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
    """The input of the model: the whole conversation before the answer."""
    check_query(request, "after", "limit", "order")
    interaction, _ = await _find(response_id, state, owner)
    identity = suffix(interaction.completion_id) + "_in"
    tools = interaction.echo.get("tools", ())
    items = list(items_of(conversation_of(interaction), identity, tools))
    if order == "desc":
        items.reverse()
    return page_of(items, after=after, limit=limit)


async def _find(
    response_id: str, state: ServerState, owner: str | None
) -> tuple[Interaction, Trajectory]:
    interaction = await find_response(response_id, state.store, owner, "response_id")
    trajectory = await asyncio.to_thread(state.store.get, interaction.trajectory_id, owner)
    if trajectory is None or not interaction.messages:
        raise _missing(response_id)
    # Read it again from this trajectory: a run may have ended in between.
    interaction = next(
        one for one in trajectory.interactions if one.completion_id == interaction.completion_id
    )
    if trajectory.outcome is Outcome.UNKNOWN and state.background.runs(interaction.completion_id):
        trajectory = trajectory.model_copy(update={"outcome": Outcome.RUNNING})
    return interaction, trajectory


def _included(request: Request) -> list[str]:
    """The optional contents of a look-up. Raises RequestError for contents that the log lacks."""
    query = request.query_params
    names = [*query.getlist("include"), *query.getlist("include[]")]
    check_included(names, RECORDED_INCLUDED)
    return names


def _missing(response_id: str) -> NotFoundError:
    return NotFoundError(f"no response {response_id[:128]!r}", param="response_id")
