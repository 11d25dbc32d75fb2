"""The body of a response in bounded memory, whatever it inflates to."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
ACCEPTED = "gzip, deflate"
"""Encodings that can be undone a bounded piece at a time."""


class BodyRefused(Exception):
    """The body is larger, or packed in other ways, than is read here; the text says which."""


async def read_body(chunks: AsyncIterable[bytes], encoding: str, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes of the unpacked body, and whether there were more."""
    body = bytearray()
    unpack = _unpacker(encoding.strip().lower())
    async for chunk in chunks:
        try:
            body += unpack(chunk, limit + 1 - len(body))
        except zlib.error as error:
            raise BodyRefused(f"it is not valid {encoding}: {error}") from error
        if len(body) > limit:
            return bytes(body[:limit]), True
    return bytes(body), False


class _Unpacker:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)

    def __call__(self, chunk: bytes, room: int) -> bytes:
        """Up to `room` bytes; what else the chunk held is dropped, as the limit is then reached."""
        return self._inflate.decompress(chunk, room)


def _unpacker(encoding: str) -> _Unpacker | _Plain:
    if encoding in ("", "identity"):
        return _Plain()
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Unpacker()
    raise BodyRefused(f"it is packed as {encoding!r}")


class _Plain:
    def __call__(self, chunk: bytes, room: int) -> bytes:
        return chunk[:room]
