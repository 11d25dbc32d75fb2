"""`/v1/responses` over a WebSocket."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass, field

from fastapi import APIRouter, WebSocket

from agentlm.errors import RequestError
from agentlm.server.chat.choice import Choice
from agentlm.server.responses.events import EventWriter, response_events
from agentlm.server.responses.previous import Remembered
from agentlm.server.responses.request.body import ResponseRequest
from agentlm.server.responses.request.words import in_these_words
from agentlm.server.responses.sealed import Sealed
from agentlm.server.responses.socket import listen, messages_of
from agentlm.server.routes.responses import prepare
from agentlm.server.state import ServerState
from agentlm.store import ApiKey

router = APIRouter(prefix="/v1/responses")


@router.websocket("")
async def converse(socket: WebSocket) -> None:
    """Answer the requests of one connection, one after another."""
    await socket.accept()
    state: ServerState = socket.app.state.server
    await listen(socket, _Conversing(socket, state).answer)


@dataclass
class _Conversing:
    """A connection, with its last answer."""

    socket: WebSocket
    state: ServerState
    last: Remembered | None = field(default=None)

    async def answer(self, body: ResponseRequest) -> None:
        last, self.last = self.last, None
        caller = await self._caller()
        owner = None if caller.admin else caller.name
        async with self.state.models.leases.held():
            with in_these_words():
                choice = await prepare(body, self.state, caller, owner, last)
            await self._tell(choice)
        self.last = _remembered(choice)

    async def _caller(self) -> ApiKey:
        """The caller, checked again: the key may have been revoked, or have used up its
        requests."""
        refusal = await self.socket.scope["admit"]()
        if refusal is not None:
            raise RequestError(json.loads(refusal.body)["error"]["message"])
        caller: ApiKey = self.socket.scope["caller"]
        return caller

    async def _tell(self, choice: Choice) -> None:
        writer = EventWriter(choice)
        begun = False
        try:
            events = self.state.chat.stream([choice], response_events(choice, writer))
            async with aclosing(events):
                async for event in events:
                    begun = True
                    await self._send(event)
        except Exception as error:
            if not begun:
                raise
            await self._send(writer.failed(error))

    async def _send(self, events: bytes) -> None:
        for message in messages_of(events):
            await self.socket.send_text(message)


def _remembered(choice: Choice) -> Remembered | None:
    if choice.transcript.finish_reason is None:
        return None
    steps = tuple(choice.transcript.steps)
    return Remembered(choice.interaction(), Sealed(key=choice.key(), steps=steps))
