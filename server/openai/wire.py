"""What all bodies have in common: how their parts are made, and how they are read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic_core import ErrorDetails

from agentlm.errors import RequestError

T = TypeVar("T")
FIRST_WRONG = Field(fail_fast=True)
"""Report only the first error in a collection: reporting a million takes a minute."""
Items = Annotated[list[T], FIRST_WRONG]


class Wire(BaseModel):
    """A part of a request."""

    model_config = ConfigDict(extra="ignore", frozen=True)


W = TypeVar("W", bound=Wire)


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16, fail_fast=True),
]


TemplateSettings = Annotated[
    dict[Annotated[str, Field(max_length=64)], StrictBool | StrictInt | StrictFloat | StrictStr],
    Field(max_length=16, fail_fast=True),
]


def read_request(
    kind: type[W], body: Any, openais: Collection[str], without_effect: Collection[str] = ()
) -> W:
    """Check a decoded body. A field that is null counts as absent.

    `openais` are all fields that OpenAI's API has, `without_effect` those that are ignored. Raises
    RequestError with the first wrong field.
    """
    if not isinstance(body, dict):
        raise RequestError(f"the body must be a JSON object, got {type(body).__name__}")
    fields = {name: value for name, value in body.items() if value is not None}
    known = {*kind.model_fields, *without_effect}
    for name in fields:
        if name not in known:
            raise RequestError(_explain_unknown(name[:64], known, openais), param=name[:64])
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise as_request_error(error) from None


_REFUSED = {
    "priority": "with it one key could starve others",
    "truncate_prompt_tokens": "a prompt that is cut is not the one that is recorded",
}
"""vLLM's fields that no model here supports, and the reasons."""


def _explain_unknown(name: str, known: Collection[str], openais: Collection[str]) -> str:
    if name in _REFUSED:
        return f"{name} is not supported: {_REFUSED[name]}"
    if name in openais:
        return f"{name} is not supported by this model"
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown parameter {name!r}{hint}"


def as_request_error(error: ValidationError) -> RequestError:
    """The most specific of pydantic's errors, with the caller's field names."""
    details = error.errors(include_url=False)[:100]
    # A union reports an error for each member: the deepest one shows where the value is wrong.
    worst = max(details, key=lambda detail: len(_path(detail["loc"])))
    param = _param(_path(worst["loc"]))
    if worst["type"] == "literal_error" and param.endswith(".type") and ".content" in param:
        message = f"only text content is supported, got {worst['input']!r}"
        return RequestError(message, param=param)
    return RequestError(f"{param}: {_sentence(worst)}", param=param)


def _sentence(detail: ErrorDetails) -> str:
    got = repr(detail["input"])
    if detail["type"] == "missing":
        return "is required"
    return f"{detail['msg']}, got {got if len(got) <= 80 else got[:77] + '...'}"


def _path(loc: Sequence[int | str]) -> list[int | str]:
    """Pydantic's location without the names of union members (`str`, `constrained-float`, …)."""
    return [part for part in loc if isinstance(part, int) or not _UNION_MEMBER.fullmatch(part)]


_UNION_MEMBER = re.compile(r".*[\[-].*|str|int|float|bool|[A-Z].*")


def _param(path: Sequence[int | str]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".")
