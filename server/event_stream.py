"""Server-sent events that notice a client's going away at once, and keep idle streams alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentlm.errors import UnavailableError
from agentlm.server.errors import error_body
from agentlm.server.openai_format import KEEP_ALIVE, error_event

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed the connection before its answer was ready."""


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work`, cancelling it when the client disconnects. Raises ClientGone then.

    Cancelled itself, as only a server is that stops, it raises UnavailableError. However this ends,
    `work` has ended before.
    """
    running = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({running, gone}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        raise ClientGone
    except asyncio.CancelledError:
        raise UnavailableError("the server is stopping; try again") from None
    finally:
        gone.cancel()
        if not running.done():
            running.cancel()
            await asyncio.wait({running})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Sends what a generator yields; closes it when the client goes away."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        *,
        headers: Mapping[str, str],
        keep_alive_s: float,
    ) -> None:
        super().__init__(headers={**headers, "cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events = events
        self._keep_alive_s = keep_alive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await while_connected(receive, self._send_all(send))
        except ClientGone:
            return
        except UnavailableError as error:
            event = error_event(error_body(error))
            await send({"type": "http.response.body", "body": event})

    async def _send_all(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        idle = _Idle(send, self._keep_alive_s)
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    idle.touch()
                    await send({"type": "http.response.body", "body": event, "more_body": True})
        finally:
            idle.stop()
        await send({"type": "http.response.body", "body": b""})


class _Idle:
    """Sends a comment whenever nothing was sent for a while; one timer, moved lazily."""

    def __init__(self, send: Send, after_s: float) -> None:
        self._send = send
        self._after_s = after_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(after_s, self._ring)

    def touch(self) -> None:
        """Something was sent."""
        self._last = self._loop.time()

    def stop(self) -> None:
        """The stream is over."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _ring(self) -> None:
        left = self._last + self._after_s - self._loop.time()
        if left <= 0:
            body = {"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True}
            self._task = self._loop.create_task(self._beat(body))
            left = self._after_s
        self._timer = self._loop.call_later(left, self._ring)

    async def _beat(self, body: dict[str, Any]) -> None:
        await self._send(body)
