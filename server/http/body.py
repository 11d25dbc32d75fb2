"""Read a JSON body of limited size. An error says where the JSON is broken."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from agentlm.errors import RequestError
from agentlm.json_size import MAX_ITEMS, MAX_NESTED, has_too_many_values
from agentlm.server.openai.wire import as_request_error

B = TypeVar("B", bound=BaseModel)


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
    if has_too_many_values(body):
        raise RequestError(
            f"the body may have at most {MAX_ITEMS} items and {MAX_NESTED} lists, objects and keys"
        )
