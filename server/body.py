"""Reading a JSON body: bounded, and with an error that says where it broke."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from agentlm.errors import RequestError
from agentlm.server.wire import as_request_error

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
    try:
        return from_json(b"".join(parts), allow_inf_nan=False)
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from None


async def read_model(kind: type[B], request: Request, max_bytes: int) -> B:
    """The body as `kind`. Raises RequestError naming the first wrong field."""
    try:
        return kind.model_validate(await read_json(request, max_bytes))
    except ValidationError as error:
        raise as_request_error(error) from None
