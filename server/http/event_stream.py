"""Server-sent events that notice at once when a client disconnects, and keep idle streams alive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentlm.errors import UnavailableError
from agentlm.server.http.errors import error_body

T = TypeVar("T")

KEEP_ALIVE = b": keep-alive\n\n"


class ClientGone(Exception):
    """The client closed the connection before its answer was ready."""


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work`, and cancel it if the client disconnects. Raises ClientGone then.

    If it is cancelled itself, which happens only when the server stops, it raises UnavailableError.
    In every case `work` has ended before.
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


def error_event(error: Exception) -> bytes:
    """The error event of a chat stream."""
    return f"data: {json.dumps(error_body(error))}\n\n".encode()


class EventStream(Response):
    """Sends what a generator yields, and closes it when the client disconnects.

    The response begins with the first event, or with a keep-alive before it. An earlier failure is
    raised and answered with its own status. A later one ends the stream with the text of `failure`.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        *,
        headers: Mapping[str, str],
        keep_alive_s: float,
        failure: Callable[[Exception], bytes] = error_event,
    ) -> None:
        super().__init__(headers={**headers, "cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events = events
        self._keep_alive_s = keep_alive_s
        self._failure = failure
        self._begun = False
        self._beginning = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(receive, self._send_all(send))
        except ClientGone:
            if not self._begun:
                await Response(status_code=499)(scope, receive, send)  # nobody reads it
        except Exception as error:
            if not self._begun:
                raise
            await send({"type": "http.response.body", "body": self._failure(error)})

    async def _send_all(self, send: Send) -> None:
        idle = _Idle(partial(self._send, send, KEEP_ALIVE), self._keep_alive_s)
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    idle.touch()
                    await self._send(send, event)
        finally:
            idle.stop()
        await send({"type": "http.response.body", "body": b""})

    async def _send(self, send: Send, body: bytes) -> None:
        if not self._begun:
            await self._begin(send)
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _begin(self, send: Send) -> None:
        async with self._beginning:
            if not self._begun:
                start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(start)
                self._begun = True


class _Idle:
    """Calls `beat` whenever nothing was sent for a while. It has a single timer, moved lazily."""

    def __init__(self, beat: Callable[[], Coroutine[Any, Any, None]], after_s: float) -> None:
        self._beat = beat
        self._after_s = after_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(after_s, self._ring)

    def touch(self) -> None:
        self._last = self._loop.time()

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _ring(self) -> None:
        left = self._last + self._after_s - self._loop.time()
        if left <= 0:
            self._task = self._loop.create_task(self._beat())
            left = self._after_s
        self._timer = self._loop.call_later(left, self._ring)
