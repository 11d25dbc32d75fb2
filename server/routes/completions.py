"""`POST /v1/completions`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response
from openai.types import Completion

from agentlm.errors import RequestError
from agentlm.server.chat.raw_completion import (
    CompletionRequest,
    TextChunks,
    prepare,
    read_completion_request,
    text_completion,
)
from agentlm.server.chat.stream import choice_chunks
from agentlm.server.http.body import read_json
from agentlm.server.http.event_stream import ClientGone, EventStream, while_connected
from agentlm.server.http.openapi import answers, reads
from agentlm.server.state import Caller, SameWeights, State

router = APIRouter(prefix="/v1")

_LONGEST_HEADER = 8192
"""Bytes that every client can read. Thousands of prompts have more trajectories than fit."""


@router.post(
    "/completions",
    dependencies=[SameWeights],
    openapi_extra=reads(CompletionRequest),
    responses=answers(Completion, Completion),
)
async def create_completion(
    request: Request,
    state: State,
    caller: Caller,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Continue raw prompts. With `echo` and `logprobs`, score them."""
    if idempotency_key is not None:
        raise RequestError("raw completions take no Idempotency-Key: each is run anew")
    raw = await read_json(request, state.settings.max_request_bytes)
    body = read_completion_request(raw)
    continuations = await prepare(state.chat, body, caller)
    choices = [each.choice for each in continuations if each.choice is not None]
    trajectories = ",".join(choice.trajectory.id for choice in choices)
    headers = {"x-trajectory-id": trajectories} if len(trajectories) <= _LONGEST_HEADER else {}
    if body.stream:
        wanted = body.stream_options is not None and body.stream_options.include_usage
        first = choices[0].request
        chunks = TextChunks(
            first.completion_id, first.created, first.served.name, include_usage=wanted
        )
        events = state.chat.stream(choices, choice_chunks(choices, chunks, include_usage=wanted))
        return EventStream(events, headers=headers, keep_alive_s=state.settings.keep_alive_s)
    try:
        await while_connected(request.receive, state.chat.run(choices))
    except ClientGone:
        return Response(status_code=499)
    served = state.models.find_own(body.model)
    return JSONResponse(text_completion(body, served, continuations), headers=headers)
