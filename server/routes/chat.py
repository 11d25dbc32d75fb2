"""`POST /v1/chat/completions`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from agentlm.server.body import read_json
from agentlm.server.event_stream import ClientGone, EventStream, while_connected
from agentlm.server.state import Caller, State
from agentlm.server.wire import read_chat_request

router = APIRouter(prefix="/v1")


@router.post("/chat/completions")
async def create_chat_completion(request: Request, state: State, caller: Caller) -> Response:
    """Answer a conversation, running the server's tools on the way."""
    settings = state.settings
    body = read_chat_request(await read_json(request, settings.max_request_bytes))
    choices = await state.chat.prepare(body, caller)
    headers = {"x-trajectory-id": ",".join(choice.trajectory.id for choice in choices)}
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        events = state.chat.stream(choices, include_usage=usage)
        return EventStream(events, headers=headers, keep_alive_s=settings.keep_alive_s)
    try:
        answer = await while_connected(request.receive, state.chat.answer(choices))
    except ClientGone:
        return Response(status_code=499)
    return JSONResponse(answer, headers=headers)
