"""Reading a JSON body: bounded, and with an error that says where it broke."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from agentlm.errors import RequestError
from agentlm.server.openai.chat_request import as_request_error

B = TypeVar("B", bound=BaseModel)

MAX_ITEMS = 500_000
"""Of all lists and objects of a body together."""
MAX_NESTED = 100_000
"""Lists, objects and their keys: what costs most to read, for the least text."""
_STRING = re.compile(rb'"[^"]*"')


async def read_json(request: Request, max_bytes: int) -> Any:
    """The decoded body. Raises RequestError if it is too long or not JSON."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise RequestError(f"the body may have at most {max_bytes} bytes")
        parts.append(part)
    return parse_json(b"".join(parts))


def parse_json(body: bytes) -> Any:
    """What a body says. Raises RequestError if it is not JSON, or has too many values."""
    _check_values(body)
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from None


async def read_model(kind: type[B], request: Request, max_bytes: int) -> B:
    """The body as `kind`. Raises RequestError naming the first wrong field."""
    try:
        return kind.model_validate(await read_json(request, max_bytes))
    except ValidationError as error:
        raise as_request_error(error) from None


def _check_values(body: bytes) -> None:
    """Raises RequestError for more values than are read in a blink: the event loop waits for that.

    A few megabytes can be millions of lists. What only stands in strings costs nothing.
    """
    if not _are_many(body):
        return
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"")  # so that quotes only bound strings
    if bare.count(b'"') > 2 * (MAX_ITEMS + MAX_NESTED) or _are_many(_STRING.sub(b"", bare)):
        raise RequestError(
            f"the body may have at most {MAX_ITEMS} items and {MAX_NESTED} lists, objects and keys"
        )


def _are_many(text: bytes) -> bool:
    nested = sum(map(text.count, (b"[", b"{", b":")))
    return text.count(b",") > MAX_ITEMS or nested > MAX_NESTED
