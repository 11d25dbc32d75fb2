"""The spellings of a conversation's row: the names that files use for turns, calls and tools.

Null counts as absent. Objects may be JSON text, because tables can't hold every object.
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
"""Names in use, in lower case."""
ROLES: Mapping[str, Role] = {
    **dict.fromkeys(get_args(Speaker), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("tool", "observation", "function", "tool_response", "ipython"), "tool"),
}
CALLING = ("function_call", "tool_call")
"""The roles whose turns consist of calls only."""


def from_json(value: Any) -> Any:
    """Parse a text as JSON: tables can't hold objects of many shapes, so they hold texts."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


def without_nulls(value: Any) -> Any:
    """Drop nulls: a table gives each object the keys of all others, with nulls."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def _text(value: Any) -> Any:
    """The text of content that consists of parts."""
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
"""Keys beside a function."""


def _within(item: Any) -> Any:
    """`{"name": …}` for `{"function": {"name": …}}`: files use both."""
    item = _without_empty(item)
    if isinstance(item, dict) and "function" not in item and "name" in item:
        inner = {key: value for key, value in item.items() if key not in _OUTER}
        return {key: item[key] for key in _OUTER if key in item} | {"function": inner}
    return item


def _without_empty(item: Any) -> Any:
    """The object without keys that carry no information."""
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
"""Keys of a tool about its results or its origin. No prompt contains them."""
_SCHEMA = frozenset(("properties", "$ref", "$defs", "definitions", "additionalProperties", "not"))


def _described(item: Any) -> Any:
    """A tool's function without keys that no prompt contains."""
    item = _without_empty(item)
    if isinstance(item, dict) and not _OF_RESULTS.isdisjoint(item):
        return {key: value for key, value in item.items() if key not in _OF_RESULTS}
    return item


def _parameters(value: Any) -> Any:
    """A tool's parameters as the schema of an object. Some data sets have the properties only."""
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
    """Drop nulls: where one thing has several names, a table has nulls under all but one."""
    if isinstance(item, dict) and None in item.values():
        return {key: value for key, value in item.items() if value is not None}
    return item


class _Closed(BaseModel):
    """An object with few keys. Unknown keys are refused, since they may carry meaning."""

    model_config = ConfigDict(extra="forbid")


class _Function(_Closed):
    name: str
    arguments: Annotated[str, BeforeValidator(_arguments)] = Field(
        "{}", validation_alias=AliasChoices("arguments", "parameters", "args", "input")
    )

    _empty = model_validator(mode="before")(_without_empty)


class WrittenCall(_Closed):
    id: str | None = None
    type: str | None = None
    index: int | None = None
    function: _Function

    _bare = model_validator(mode="before")(_within)


class WrittenTurn(BaseModel):
    """A turn, with any of the names for its parts."""

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

    _described_only = model_validator(mode="before")(_described)


class WrittenTool(_Closed):
    id: str | int | None = None
    type: str | None = None
    index: int | None = None
    function: _ToolFunction

    _bare = model_validator(mode="before")(_within)


class WrittenCalls(BaseModel):
    """The text of a turn that consists of calls."""

    calls: list[WrittenCall] = Field(min_length=1)


class Common(BaseModel):
    """What a row of any format can have besides its turns."""

    id: object = Field(None, validation_alias=AliasChoices("id", "item_id"))
    system: str | None = None
    tools: Annotated[list[WrittenTool] | None, BeforeValidator(from_json)] = Field(
        None, validation_alias=AliasChoices("tools", "functions")
    )
    split: object = None

    _nulls = model_validator(mode="before")(_present)


class WrittenTurns(BaseModel):
    turns: list[WrittenTurn] = Field(min_length=1)


COMMON_KEYS = frozenset({"id", "item_id", "system", "tools", "functions", "split", "text"})
"""Keys of `Common`, and `text`: beside other keys, its content repeats theirs."""
SHAREGPT = {"role": "from", "content": "value"}
"""ShareGPT's names for OpenAI's."""
