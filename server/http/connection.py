"""Close connections that are opened and not used: nothing else keeps them from piling up.

uvicorn limits only the silence after an answer, its httptools protocol not the head of a request,
and none of its protocols how long a client may leave unread what it is sent. If a request's target
names a host, uvicorn keeps only the path; this keeps the host beside it, for the guard.
"""

from __future__ import annotations

import asyncio
import re
from asyncio import TimerHandle

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MAX_HEAD_BYTES = 65_536
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


class ReadInTime(asyncio.Protocol):
    """A connection that is closed if the client does not read what it is sent."""

    wait_s: float
    """Limit for each piece."""
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _reader_timer: TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def _watch_reader(self) -> None:
        untaken = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.wait_s, self._give_reader_up, untaken)

    def _stop_watching(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _give_reader_up(self, untaken: int) -> None:
        if self.transport.get_write_buffer_size() < untaken:
            self._watch_reader()
        else:  # an orderly close would wait until everything is sent
            self.transport.abort()


class Socket(ReadInTime, WebSocketsSansIOProtocol):
    """One WebSocket."""

    def keepalive_timeout(self) -> None:
        """The client no longer answers pings. uvicorn waits for it to read the rest."""
        super().keepalive_timeout()
        self.transport.abort()


class Connection(ReadInTime, HttpToolsProtocol):
    """One connection. It is closed if the head of a request or more of its body does not come in
    time, too.

    There is no limit for the time an answer takes.
    """

    wait_s: float
    """Limit for a whole head, and for each piece of a body or an answer."""
    _timer: TimerHandle | None = None
    _head_bytes: int | None = None
    """Bytes so far of the head that is being read; None: no head is being read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The request's head is too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        if not self.url.startswith(b"/"):
            match = _ABSOLUTE.fullmatch(self.url)
            authority, rest = (match[1], match[2]) if match else (self.url, b"")
            self.scope["authority"] = authority.decode("latin-1")  # type: ignore[typeddict-unknown-key]
            self.url = rest if rest.startswith(b"/") else b"/" + rest
        super().on_headers_complete()
        self._wait()

    def handle_websocket_upgrade(self) -> None:
        """Silence on a WebSocket is its route's concern."""
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._wait()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._answers():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            self._timer = self.loop.call_later(self.wait_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self.flow.read_paused:  # the server is the slow one
            self._wait()
        elif not self._answers() or self.cycle.more_body:
            self.transport.close()
