"""Responses over a WebSocket: one connection, one response after another.

A message is a request, `{"type": "response.create", …}`. Its events come back, one message each.
The last answer is remembered as long as the connection lasts, even if it is not to be kept, and the
next request can go on from it by its id. A request that fails removes it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from agentlm.errors import AgentLMError, RequestError, UnavailableError
from agentlm.server.http.body import parse_json
from agentlm.server.http.errors import error_body
from agentlm.server.responses.request.body import ResponseRequest, read_response_request

_WAITING = 4
"""How many messages are read ahead of their turn."""
_NOT_HERE = ("stream", "stream_options", "background")
Answer = Callable[[ResponseRequest], Awaitable[None]]


async def listen(socket: WebSocket, answer: Answer) -> None:
    """Read messages and answer each, until the client leaves. Then what runs is cancelled."""
    messages: asyncio.Queue[str] = asyncio.Queue(_WAITING)
    reading = asyncio.create_task(_read(socket, messages))
    try:
        while True:
            waiting = asyncio.create_task(messages.get())
            await _first_of(waiting, reading)
            if not waiting.done():
                waiting.cancel()
                return
            turn = asyncio.create_task(_turn(socket, waiting.result(), answer))
            try:
                await _first_of(turn, reading)
            finally:
                if not turn.done():
                    turn.cancel()
                    await asyncio.wait([turn])
            if reading.done():
                return
    finally:
        reading.cancel()


async def _first_of(*tasks: asyncio.Task[Any]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _read(socket: WebSocket, messages: asyncio.Queue[str]) -> None:
    with suppress(WebSocketDisconnect, KeyError):  # a message of bytes is invalid here
        while True:
            await messages.put(await socket.receive_text())


async def _turn(socket: WebSocket, text: str, answer: Answer) -> None:
    try:
        await answer(_request_of(text))
    except WebSocketDisconnect:
        return
    except Exception as error:  # noqa: BLE001 (sent to the client, in its public form)
        await socket.send_text(json.dumps(error_event(error), ensure_ascii=False))


def _request_of(text: str) -> ResponseRequest:
    message = parse_json(text.encode())
    kind = message.get("type") if isinstance(message, dict) else None
    if kind != "response.create":
        raise RequestError("a message must be of type 'response.create'", param="type")
    for name in _NOT_HERE:
        if message.get(name) is not None:
            raise RequestError(f"{name} has no meaning over a WebSocket", param=name)
    return read_response_request(
        {name: value for name, value in message.items() if name != "type"} | {"stream": True}
    )


def error_event(error: Exception) -> dict[str, Any]:
    """The event for a failed request."""
    fields = error_body(error)["error"]
    status = 500
    if isinstance(error, RequestError):
        status = error.status
    elif isinstance(error, UnavailableError):
        status = 503
    code = fields["code"] or (fields["type"] if isinstance(error, AgentLMError) else "server_error")
    return {"type": "error", "status": status, "error": fields | {"code": code}}


def messages_of(events: bytes) -> Iterator[str]:
    """The WebSocket form of events, from their HTTP form."""
    for block in events.decode().split("\n\n"):
        _, _, data = block.partition("\ndata: ")
        if data:
            yield data
