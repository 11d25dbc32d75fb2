"""What a row of a conversation may look like: the names that files have for turns, calls and tools.

Null is as good as absent, and what tables can't hold as objects may be JSON in a text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from agentlm.messages import Role

Speaker = Literal[
    "system",
    "developer",
    "user",
    "human",
    "prompter",
    "assistant",
    "gpt",
    "chatgpt",
    "model",
    "bot",
    "chatbot",
    "ai",
    "function_call",
    "tool_call",
    "tool",
    "observation",
    "function",
    "tool_response",
    "ipython",
]
"""Names that are in use, in small letters."""
ROLES: Mapping[str, Role] = {
    **dict.fromkeys(get_args(Speaker), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("tool", "observation", "function", "tool_response", "ipython"), "tool"),
}
CALLING = ("function_call", "tool_call")
"""Those whose turns are nothing but calls."""


def from_json(value: Any) -> Any:
    """What a text holds as JSON: tables can't hold objects of many shapes, so they hold texts."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


def without_nulls(value: Any) -> Any:
    """A table gives each object the keys of all, with nulls."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def _text(value: Any) -> Any:
    """The text of content that comes in parts."""
    return "".join(map(_part, value)) if isinstance(value, list) else value


def _part(part: Any) -> str:
    if isinstance(part, dict) and part.get("type", "text") == "text":
        part = part.get("text")
    if not isinstance(part, str):
        raise ValueError("of content only text can be learnt")
    return part


def _arguments(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(without_nulls(value), ensure_ascii=False)
    return value if isinstance(value, str) and value.strip() else value or "{}"


_OUTER = ("id", "type", "index")
"""Keys that stand beside a function."""


def _within(item: Any) -> Any:
    """`{"name": …}` for `{"function": {"name": …}}`: both are written."""
    item = _meant(item)
    if isinstance(item, dict) and "function" not in item and "name" in item:
        inner = {key: value for key, value in item.items() if key not in _OUTER}
        return {key: item[key] for key in _OUTER if key in item} | {"function": inner}
    return item


def _meant(item: Any) -> Any:
    """An object without what says nothing."""
    item = from_json(item)
    if not isinstance(item, dict):
        return item
    return {key: value for key, value in item.items() if value not in (None, "", [], {})}


_OF_RESULTS = frozenset(
    """
annotations category examples meta output_schema outputSchema response results return return_type
returns tags title version
""".split()
)
"""Keys of a tool that tell of its results, or where it is from: no model is told of them here."""
_SCHEMA = frozenset(("properties", "$ref", "$defs", "definitions", "additionalProperties", "not"))


def _described(item: Any) -> Any:
    """A tool's function without what is not told."""
    item = _meant(item)
    if isinstance(item, dict) and not _OF_RESULTS.isdisjoint(item):
        return {key: value for key, value in item.items() if key not in _OF_RESULTS}
    return item


def _parameters(value: Any) -> Any:
    """A tool's parameters as the schema of an object: some sets name the arguments alone."""
    value = without_nulls(from_json(value))
    named = isinstance(value, dict) and value and _SCHEMA.isdisjoint(value)
    if not named or not all(isinstance(argument, dict) for argument in value.values()):
        return value
    required = [name for name, argument in value.items() if not _optional(argument)]
    return {"type": "object", "properties": value, "required": required}


def _optional(argument: Mapping[str, Any]) -> bool:
    return "default" in argument or "optional" in str(argument.get("type"))


def _small(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _present(item: Any) -> Any:
    """Of several names for one thing, a table has a null under all but one."""
    if isinstance(item, dict) and None in item.values():
        return {key: value for key, value in item.items() if value is not None}
    return item


class _Closed(BaseModel):
    """An object of few keys: one that is not among them may hold what was meant."""

    model_config = ConfigDict(extra="forbid")


class _Function(_Closed):
    name: str
    arguments: Annotated[str, BeforeValidator(_arguments)] = Field(
        "{}", validation_alias=AliasChoices("arguments", "parameters", "args", "input")
    )

    _empty = model_validator(mode="before")(_meant)


class WrittenCall(_Closed):
    """A call of a turn."""

    id: str | None = None
    type: str | None = None
    index: int | None = None
    function: _Function

    _bare = model_validator(mode="before")(_within)


class WrittenTurn(BaseModel):
    """A turn, by any of its names."""

    role: Annotated[Speaker, BeforeValidator(_small)] = Field(
        validation_alias=AliasChoices("role", "from")
    )
    content: Annotated[str | None, BeforeValidator(_text)] = Field(
        None, validation_alias=AliasChoices("content", "value")
    )
    reasoning: str | None = Field(
        None, validation_alias=AliasChoices("reasoning_content", "reasoning", "thinking", "thought")
    )
    tool_calls: Annotated[list[WrittenCall] | None, BeforeValidator(from_json)] = None
    function_call: Annotated[_Function | None, BeforeValidator(from_json)] = None
    tool_call_id: str | None = None
    name: str | None = None
    refusal: str | None = None
    loss: bool | None = None
    train: bool | None = None
    weight: Literal[0, 1] | None = None

    _nulls = model_validator(mode="before")(_present)


class _ToolFunction(_Closed):
    name: str
    description: str | None = None
    parameters: Annotated[dict[str, Any] | None, BeforeValidator(_parameters)] = Field(
        None,
        validation_alias=AliasChoices("parameters", "input_schema", "inputSchema", "arguments"),
    )
    strict: bool | None = None

    _told = model_validator(mode="before")(_described)


class WrittenTool(_Closed):
    """A tool of a row."""

    id: str | int | None = None
    type: str | None = None
    index: int | None = None
    function: _ToolFunction

    _bare = model_validator(mode="before")(_within)


class WrittenCalls(BaseModel):
    """What a turn says that is nothing but calls."""

    calls: list[WrittenCall] = Field(min_length=1)


class Common(BaseModel):
    """What a row of any format may have beside its turns."""

    id: object = Field(None, validation_alias=AliasChoices("id", "item_id"))
    system: str | None = None
    tools: Annotated[list[WrittenTool] | None, BeforeValidator(from_json)] = Field(
        None, validation_alias=AliasChoices("tools", "functions")
    )
    split: object = None

    _nulls = model_validator(mode="before")(_present)


class WrittenTurns(BaseModel):
    """The turns of a row."""

    turns: list[WrittenTurn] = Field(min_length=1)


COMMON_KEYS = frozenset({"id", "item_id", "system", "tools", "functions", "split", "text"})
"""Keys of `Common`, and `text`: what a row with other keys has there is made of them."""
SHAREGPT = {"role": "from", "content": "value"}
"""ShareGPT's names for OpenAI's."""
