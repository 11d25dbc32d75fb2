"""The body of a response in bounded memory, whatever it inflates to."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_MEMBER = b"\x1f\x8b"
"""How each member of gzip begins."""
ACCEPTED = "gzip, deflate"
"""Encodings that can be undone a bounded piece at a time."""


class BodyRefused(Exception):
    """The body is too large, or packed in a way that is not supported; the text says which."""


async def read_body(chunks: AsyncIterable[bytes], encoding: str, limit: int) -> tuple[bytes, str]:
    """At most `limit` bytes of the unpacked body, and the reason if that is not all of it."""
    body = bytearray()
    unpack = _unpacker(encoding.strip().lower())
    async for chunk in chunks:
        try:
            body += unpack(chunk, limit + 1 - len(body))
        except zlib.error as error:
            raise BodyRefused(f"it is not valid {encoding}: {error}") from error
        if len(body) > limit:
            return bytes(body[:limit]), "the document is longer than is read"
    return bytes(body), "" if unpack.whole() else "the document ends too early: it came incomplete"


class _Unpacker:
    """Undoes deflate, and gzip of any number of members."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._began = False

    def __call__(self, chunk: bytes, room: int) -> bytes:
        """Up to `room` bytes. The rest of the chunk is dropped: the limit is reached then."""
        out = bytearray()
        while chunk and len(out) < room:
            if self._inflate.eof:
                if not chunk.startswith(_MEMBER[: len(chunk)]):
                    break  # padding, which other programs ignore too
                self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
            self._began = True
            out += self._inflate.decompress(chunk, room - len(out))
            chunk = self._inflate.unused_data
        return bytes(out)

    def whole(self) -> bool:
        """Whether the packed data was complete."""
        return self._inflate.eof or not self._began


def _unpacker(encoding: str) -> _Unpacker | _Plain:
    if encoding in ("", "identity"):
        return _Plain()
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Unpacker()
    raise BodyRefused(f"it is packed as {encoding!r}")


class _Plain:
    def __call__(self, chunk: bytes, room: int) -> bytes:
        return chunk[:room]

    def whole(self) -> bool:
        """Always: HTTP itself marks where an unpacked body ends."""
        return True
