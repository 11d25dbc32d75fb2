"""`POST /v1/chat/completions`."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from agentlm.server.chat.choice import Choice
from agentlm.server.chat.inputs import hand_in, inputs_of
from agentlm.server.chat.once import Once
from agentlm.server.chat.stream import choice_chunks, stream_end
from agentlm.server.chat.whole import completion
from agentlm.server.http.body import read_json
from agentlm.server.http.event_stream import ClientGone, EventStream, while_connected
from agentlm.server.http.openapi import answers, reads
from agentlm.server.openai.answers import Chunks
from agentlm.server.openai.chat_request import ChatRequest, read_chat_request
from agentlm.server.state import Caller, OwnerScope, SameWeights, ServerState, State

router = APIRouter(prefix="/v1")

_JSON = "application/json"


@router.post(
    "/chat/completions",
    dependencies=[SameWeights],
    openapi_extra=reads(ChatRequest),
    responses=answers(ChatCompletion, ChatCompletionChunk),
)
async def create_chat_completion(
    request: Request,
    state: State,
    caller: Caller,
    owner: OwnerScope,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Answer a conversation. The server's tools run during the answer."""
    raw = await read_json(request, state.settings.max_request_bytes)
    body = read_chat_request(raw)
    once = Once.of(state.store, caller.name, idempotency_key, raw)
    if once is not None and (known := await once.known()) is not None:
        kind = "text/event-stream" if body.stream else _JSON
        headers = {"idempotent-replayed": "true", "x-trajectory-id": await once.trajectories(known)}
        return Response(known.body, known.status, headers, media_type=kind)
    try:
        inputs = inputs_of(body.tools, state.files, owner)
        choices = await state.chat.prepare(body, caller)
        if inputs:
            workspace = state.chat.toolbox.files(choices[0].trajectory.id)
            await asyncio.to_thread(hand_in, inputs, workspace)
    except BaseException:
        if once is not None:
            await once.abandon()
        raise
    headers = run_headers(choices)
    if body.stream:
        return _stream(body, state, choices, once, headers)
    return await _whole(request, state, choices, once, headers)


def run_headers(choices: list[Choice]) -> dict[str, str]:
    """Headers with the run's trajectory and the weights, since a name's model may change."""
    headers = {"x-trajectory-id": ",".join(choice.trajectory.id for choice in choices)}
    version = choices[0].request.served.weights_version
    if version:
        headers["x-weights-version"] = version
    return headers


def _stream(
    body: ChatRequest,
    state: ServerState,
    choices: list[Choice],
    once: Once | None,
    headers: dict[str, str],
) -> Response:
    usage = body.stream_options is not None and body.stream_options.include_usage
    request = choices[0].request
    chunks = Chunks(
        request.completion_id, request.created, request.served.name, include_usage=usage
    )
    chunk_stream = choice_chunks(choices, chunks, include_usage=usage)
    events = state.chat.stream(choices, chunk_stream)
    end = partial(stream_end, choices[0], chunks, include_usage=usage)
    return EventStream(
        events if once is None else once.stream(events, choices, end),
        headers=headers,
        keep_alive_s=state.settings.keep_alive_s,
    )


async def _whole(
    request: Request,
    state: ServerState,
    choices: list[Choice],
    once: Once | None,
    headers: dict[str, str],
) -> Response:
    async def run() -> None:
        await while_connected(request.receive, state.chat.run(choices))

    def spell() -> str:
        return json.dumps(completion(choices), ensure_ascii=False)

    try:
        if once is None:
            await run()
            text = spell()
        else:
            text = await once.answer(run, choices, spell)
    except ClientGone:
        return Response(status_code=499)
    return Response(text, headers=headers, media_type=_JSON)
