"""Lists in OpenAI's format, one page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request

from agentlm.errors import NotFoundError, RequestError

_AS_IT_IS = [("stream", "false"), ("include_obfuscation", "false")]
"""Query parameters that ask for what happens anyway."""


def check_query(request: Request, *known: str) -> None:
    """Raises RequestError for parameters that would change the answer but are not supported."""
    for name, value in request.query_params.items():
        plain = name.removesuffix("[]")[:64]
        if plain not in known and (plain, value) not in _AS_IT_IS:
            raise RequestError(f"{plain} is not supported here", param=plain)


def page(data: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """One page of objects that have ids."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def page_of(data: Sequence[dict[str, Any]], *, after: str | None, limit: int) -> dict[str, Any]:
    """The page of a list that begins after an id. Raises NotFoundError if the list doesn't have
    it."""
    ids = [one["id"] for one in data]
    if after is not None and after not in ids:
        raise NotFoundError(f"the list has no {after!r}", param="after")
    start = 0 if after is None else ids.index(after) + 1
    return page(data[start : start + limit], has_more=start + limit < len(data))
