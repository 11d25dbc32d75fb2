"""Read a JSON body of limited size. An error says where the JSON is broken."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from agentlm.errors import RequestError
from agentlm.server.openai.wire import as_request_error

B = TypeVar("B", bound=BaseModel)

MAX_ITEMS = 500_000
"""Limit for the items of all lists and objects of a body together."""
MAX_NESTED = 100_000
"""Limit for lists, objects and their keys, which cost most to read for the least text."""
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
    """The decoded body. Raises RequestError if it is not JSON, or has too many values."""
    _check_values(body)
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from None


async def read_model(kind: type[B], request: Request, max_bytes: int) -> B:
    """The body as `kind`. Raises RequestError with the first wrong field."""
    try:
        return kind.model_validate(await read_json(request, max_bytes))
    except ValidationError as error:
        raise as_request_error(error) from None


def _check_values(body: bytes) -> None:
    """Raises RequestError for more values than can be read in an instant, as the event loop waits.

    A few megabytes can be millions of lists. Text inside strings doesn't count.
    """
    if not _are_many(body):
        return
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"")  # so that quotes only delimit strings
    if bare.count(b'"') > 2 * (MAX_ITEMS + MAX_NESTED) or _are_many(_STRING.sub(b"", bare)):
        raise RequestError(
            f"the body may have at most {MAX_ITEMS} items and {MAX_NESTED} lists, objects and keys"
        )


def _are_many(text: bytes) -> bool:
    nested = sum(map(text.count, (b"[", b"{", b":")))
    return text.count(b",") > MAX_ITEMS or nested > MAX_NESTED
