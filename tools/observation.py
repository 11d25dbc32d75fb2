"""From a tool's output to text for a model: limited, decoded, with a note for what is left out."""

from __future__ import annotations

import re
from collections import deque

from agentlm.printable import printable

_TERMINAL_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[@-Z\\-_]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Capture:
    """Bytes of a stream in constant memory: the first `limit / 2` and the last `limit / 2`."""

    def __init__(self, limit: int) -> None:
        self.total = 0
        self._head_limit = self._tail_limit = max(1, limit // 2)
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail.append(data)
            self._tail_size += len(data)
            while self._tail_size - len(self._tail[0]) >= self._tail_limit:
                self._tail_size -= len(self._tail.popleft())

    def text(self) -> str:
        """The kept output as readable text, with the size of the omitted middle in its place."""
        tail = b"".join(self._tail)[-self._tail_limit :]
        omitted = self.total - len(self._head) - len(tail)
        if not omitted:
            return readable(bytes(self._head) + tail)
        return f"{readable(bytes(self._head))}\n[… {omitted} bytes left out …]\n{readable(tail)}"


def readable(data: bytes) -> str:
    """Bytes as text without terminal escapes. Binary data is described instead."""
    text = data.decode("utf-8", errors="replace")
    if "\x00" in text or text.count("\ufffd") > max(8, len(text) // 4):
        return f"({len(data)} bytes of binary data)"
    return printable(_CONTROL.sub("", _TERMINAL_ESCAPE.sub("", text.replace("\r\n", "\n"))))


def shorten(text: str, limit: int) -> str:
    """At most about `limit` characters. The middle is left out, and the text says so."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
