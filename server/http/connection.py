"""A connection that is opened and not used is closed: else nothing keeps such from piling up.

uvicorn bounds the silence after an answer only, and by httptools no request's head. Of a target
that names a host it keeps the path alone: the host is kept beside it here, for the guard to see.
"""

from __future__ import annotations

import asyncio
import re
from asyncio import TimerHandle

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


class Connection(HttpToolsProtocol):
    """One connection, closed if a request's head has not come in time, no more of its body, or if
    nothing of its answer is taken.

    How long an answer takes is nobody's business here.
    """

    wait_s: float
    """For the whole head since the connection is free, and each piece of a body or an answer."""
    _timer: TimerHandle | None = None
    _reader_timer: TimerHandle | None = None
    _head_bytes: int | None = None
    """Of the head that is being read; None: none is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See uvicorn."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """See uvicorn."""
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See uvicorn."""
        super().data_received(data)
        if self._head_bytes is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The request's head is too long.")

    def on_message_begin(self) -> None:
        """See uvicorn."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """See uvicorn."""
        self._head_bytes = None
        if not self.url.startswith(b"/"):
            found = _ABSOLUTE.fullmatch(self.url)
            authority, rest = (found[1], found[2]) if found else (self.url, b"")
            self.scope["authority"] = authority.decode("latin-1")  # type: ignore[typeddict-unknown-key]
            self.url = rest if rest.startswith(b"/") else b"/" + rest
        super().on_headers_complete()
        self._wait()

    def handle_websocket_upgrade(self) -> None:
        """See uvicorn; how long a socket is silent is its route's business."""
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def on_body(self, body: bytes) -> None:
        """See uvicorn."""
        super().on_body(body)
        self._wait()

    def on_message_complete(self) -> None:
        """See uvicorn."""
        super().on_message_complete()
        if self._answers():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """See uvicorn."""
        super().on_response_complete()
        self._wait()

    def pause_writing(self) -> None:
        """See uvicorn: the client is behind with reading."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """See uvicorn."""
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
        else:  # closed in order, it would wait until all is taken
            self.transport.abort()

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
        if self.flow.read_paused:  # it is the server that takes its time
            self._wait()
        elif not self._answers() or self.cycle.more_body:
            self.transport.close()
