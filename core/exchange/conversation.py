"""The one reader of conversations, however a file spells them.

A turn has a `role` and `content`, or `from` and `value`; its loss mark is called `loss`, `train` or
`weight`; its calls stand in `tool_calls`, in `function_call`, or are what a turn by `function_call`
says. Null is as good as absent. Every format comes down to `Said` and is written in the canonical
grammar by the same rules:

* of several calls at once each is a turn of its own, followed by its result;
* an observation is written as the server writes one;
* where the row has tools, an answer is in the form that goes with them;
* an answer to learn says something, calls only what is there, and with an object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, model_validator

from agentlm.exchange.keys import TURN_KEYS, check_keys, short
from agentlm.exchange.turns import Loss, imported, imported_step, parse_row
from agentlm.messages import Message, Role, ToolCall, ToolSpec
from agentlm.prompt.grammar import observe, parse, read_arguments, write, write_answer
from agentlm.trajectory import Step, Trajectory

Speaker = Literal[
    "system",
    "developer",
    "user",
    "human",
    "assistant",
    "gpt",
    "chatgpt",
    "model",
    "function_call",
    "tool_call",
    "tool",
    "observation",
    "function",
    "tool_response",
]
"""Names that are in use."""
_ROLES: Mapping[str, Role] = {
    **dict.fromkeys(get_args(Speaker), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("tool", "observation", "function", "tool_response"), "tool"),
}
_CALLING = ("function_call", "tool_call")


class Said(NamedTuple):
    """A turn, whatever format it stood in."""

    place: str
    role: Role
    text: str
    thought: str | None = None
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    """On a result: the id of the call, if it was given."""
    loss: bool | None = None
    """Whether an assistant's turn is learnt; None on others."""


# -- what a row may look like --------------------------------------------------------------------


def _from_json(value: Any) -> Any:
    """What a text holds as JSON: tables can't hold objects of many shapes, so they hold texts."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


def _without_nulls(value: Any) -> Any:
    """A table gives each object the keys of all, with nulls."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _arguments(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(_without_nulls(value), ensure_ascii=False)
    return value if isinstance(value, str) and value.strip() else value or "{}"


def _within(item: Any) -> Any:
    """`{"name": …}` for `{"function": {"name": …}}`: both are written."""
    item = _from_json(item)
    if isinstance(item, dict) and item.get("function") is None and "name" in item:
        return {"id": item.get("id"), "function": item}
    return item


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Function(BaseModel):
    name: str
    arguments: Annotated[str, BeforeValidator(_arguments)] = "{}"


class _Call(BaseModel):
    id: str | None = None
    function: _Function

    _bare = model_validator(mode="before")(_within)


class _Turn(BaseModel):
    role: Speaker = Field(validation_alias=AliasChoices("role", "from"))
    content: str | list[_Part] | None = Field(
        None, validation_alias=AliasChoices("content", "value")
    )
    reasoning: str | None = Field(
        None, validation_alias=AliasChoices("reasoning_content", "reasoning", "thinking", "thought")
    )
    tool_calls: Annotated[list[_Call] | None, BeforeValidator(_from_json)] = None
    function_call: Annotated[_Function | None, BeforeValidator(_from_json)] = None
    tool_call_id: str | None = None
    refusal: str | None = None
    loss: bool | None = None
    train: bool | None = None
    weight: Literal[0, 1] | None = None


class _ToolFunction(BaseModel):
    name: str
    description: str | None = None
    parameters: Annotated[dict[str, Any] | None, BeforeValidator(_from_json)] = None
    strict: bool | None = None


class _Tool(BaseModel):
    function: Annotated[_ToolFunction, BeforeValidator(_from_json)]

    _bare = model_validator(mode="before")(_within)


class _Calls(BaseModel):
    calls: list[_Call] = Field(min_length=1)


class Common(BaseModel):
    """What a row of any format may have beside its turns."""

    id: str | int | None = Field(None, validation_alias=AliasChoices("id", "item_id"))
    system: str | None = None
    tools: Annotated[list[_Tool] | None, BeforeValidator(_from_json)] = Field(
        None, validation_alias=AliasChoices("tools", "functions")
    )


_SHAREGPT = {"role": "from", "content": "value"}


class _Turns(BaseModel):
    turns: list[_Turn] = Field(min_length=1)


COMMON_KEYS = frozenset({"id", "item_id", "system", "tools", "functions"})
"""Keys of `Common`."""


# -- from a row to a trajectory ------------------------------------------------------------------


def read_conversation(row: object, key: str, *, named: bool) -> Trajectory:
    """The trajectory of a row that has turns under a key. If it is `named`, its id is its task's.

    Raises ValueError for a row that can't be read, or not as it is meant.
    """
    common = parse_row(Common, row)
    assert isinstance(row, dict)
    said = read_turns(row.get(key), key)
    check_keys(row, COMMON_KEYS | {key}, [turn.text for turn in said])
    return trajectory_of(said, common, named=named)


def read_turns(turns: Any, key: str) -> list[Said]:
    """The turns that stand under a row's key. Raises ValueError for one that can't be read."""
    first = turns[0] if isinstance(turns, list) and turns else None
    spelling = _SHAREGPT if isinstance(first, dict) and "from" in first else {}
    parsed = parse_row(_Turns, {"turns": turns}, {"turns": key} | spelling).turns
    for index, raw in enumerate(turns):
        try:
            check_keys(raw, TURN_KEYS)
        except ValueError as error:
            raise ValueError(f"{key}.{index}.{error}") from None
    return [_said(turn, f"{key}.{index}") for index, turn in enumerate(parsed)]


def trajectory_of(said: Sequence[Said], common: Common, *, named: bool) -> Trajectory:
    """The trajectory that turns are. If it is `named`, its id is that of its task.

    Raises ValueError for turns that can't be meant, or can't be written.
    """
    tools = tuple(map(_spec, common.tools or ()))
    turns = _with_calls_apart(_joined(_opened(said, common.system)))
    steps: list[Step] = []
    loss: list[bool | None] = []
    for turn in turns:
        if turn.loss:
            _check_answer(turn, tools)
        steps.append(_step(turn, in_form=bool(tools)))
        loss.append(turn.loss)
    name = str(common.id) if named and common.id is not None else None
    marks: Loss = loss
    return imported(steps, marks, task_id=name, tools=tools)


def _spec(tool: _Tool) -> ToolSpec:
    function = tool.function
    return ToolSpec(
        name=function.name,
        description=function.description or "",
        parameters=_without_nulls(function.parameters) or {"type": "object", "properties": {}},
        strict=function.strict,
    )


def _said(turn: _Turn, place: str) -> Said:
    role = _ROLES[turn.role]
    text = _text(turn.content) or turn.refusal or ""
    loss = _loss(turn, place, own=role == "assistant")
    if turn.role in _CALLING:
        return Said(place, role, "", turn.reasoning, _told_calls(text, place), loss=loss)
    if not turn.tool_calls and not turn.function_call:
        return Said(place, role, text, turn.reasoning, (), turn.tool_call_id, loss)
    if role != "assistant":
        raise ValueError(f"{place}: only the assistant calls tools, got {turn.role}")
    single = [_Call(function=turn.function_call)] if turn.function_call else []
    calls = _numbered(turn.tool_calls or single, place)
    return Said(place, role, text, turn.reasoning, calls, None, loss)


def _loss(turn: _Turn, place: str, *, own: bool) -> bool | None:
    if turn.loss is None and turn.train is None and turn.weight is None:
        return own or None
    marks = {
        name: bool(mark)
        for name in ("loss", "train", "weight")
        if (mark := getattr(turn, name)) is not None
    }
    if len(set(marks.values())) > 1:
        raise ValueError(f"{place}: {' and '.join(marks)} disagree, got {marks}")
    if not own and any(marks.values()):
        raise ValueError(
            f"{place}.{next(iter(marks))}: only the assistant's turns are learnt, got {turn.role}"
        )
    return all(marks.values()) if own else None


def _text(content: str | list[_Part] | None) -> str:
    if isinstance(content, list):
        return "".join(part.text for part in content)
    return content or ""


def _told_calls(text: str, place: str) -> tuple[ToolCall, ...]:
    """The calls that are all that a turn says, as JSON: one object, or a list of them."""
    try:
        value = _from_json(text)
        told = parse_row(_Calls, {"calls": value if isinstance(value, list) else [value]})
    except ValueError as error:
        raise ValueError(f"{place}: a call is read from JSON, got {short(text)}: {error}") from None
    return _numbered(told.calls, place)


def _numbered(calls: Sequence[_Call], place: str) -> tuple[ToolCall, ...]:
    """Calls with an id each: their place where they bring none."""
    return tuple(
        ToolCall(
            id=call.id or f"{_UNNAMED}{place}.{index}",
            name=call.function.name,
            arguments=call.function.arguments,
        )
        for index, call in enumerate(calls)
    )


_UNNAMED = "call_of_"


def _opened(said: Sequence[Said], system: str | None) -> Sequence[Said]:
    """The turns with the row's own system text before them."""
    if not system:
        return said
    if said and said[0].role == "system":
        if said[0].text != system:
            raise ValueError(f"system: {said[0].place} has another one, got {short(system)}")
        return said
    return [Said("system", "system", system), *said]


def _joined(said: Sequence[Said]) -> Iterator[Said]:
    """The turns with what was said right before a call, or called beside it, as one turn."""
    last: Said | None = None
    for turn in said:
        if last and last.role == turn.role == "assistant" and (last.calls or turn.calls):
            if turn.text or turn.thought or not turn.calls or turn.loss != last.loss:
                raise ValueError(
                    f"{turn.place}: it follows a turn of the assistant that is not over"
                )
            last = last._replace(calls=last.calls + turn.calls)
            continue
        if last:
            yield last
        last = turn
    if last:
        yield last


def _with_calls_apart(said: Iterator[Said]) -> Iterator[Said]:
    """Turns of at most one call, each with its own result after it."""
    left = list(said)[::-1]
    while left:
        turn = left.pop()
        if not turn.calls:
            yield turn
            continue
        yield turn._replace(calls=turn.calls[:1])
        results = []
        while left and left[-1].role == "tool":
            results.append(left.pop())
        last = len(turn.calls) - 1
        for index, call in enumerate(turn.calls):
            if index:
                yield turn._replace(text="", thought=None, calls=(call,))
            result = _result(call, results, alone=not last)
            if result:
                yield result._replace(call_id=result.call_id or call.id)
            elif index < last:
                raise ValueError(
                    f"{turn.place}.tool_calls: {call.name} has no result, so what was "
                    "called beside it can't be written as a turn of its own"
                )
        yield from results


def _result(call: ToolCall, results: list[Said], *, alone: bool) -> Said | None:
    """Take a call's result: by its id, or in turn where the row names no ids."""
    unnamed = call.id.startswith(_UNNAMED)
    for index, result in enumerate(results):
        if alone or unnamed or result.call_id in (None, call.id):
            return results.pop(index)
    return None


def _check_answer(turn: Said, tools: Sequence[ToolSpec]) -> None:
    if not turn.calls and not turn.text.strip():
        raise ValueError(f"{turn.place}: the assistant says nothing and calls nothing")
    for call in turn.calls:
        if read_arguments(call.arguments)[1]:
            raise ValueError(
                f"{turn.place}.tool_calls: the arguments of {call.name} are no object, "
                f"got {short(call.arguments)}"
            )
        if tools and call.name not in [tool.name for tool in tools]:
            raise ValueError(f"{turn.place}.tool_calls: {call.name} is not among the tools")


def _step(turn: Said, *, in_form: bool) -> Step:
    if turn.role == "tool":
        return imported_step("tool", observe(turn.text), tool_call_id=turn.call_id)
    if turn.role != "assistant":
        return imported_step(turn.role, turn.text)
    if turn.calls:
        thought = "\n".join(filter(None, (turn.thought, turn.text)))
        message = Message(role="assistant", content=thought, tool_calls=turn.calls)
        return imported_step(
            "assistant", write(message), thought=thought or None, call=turn.calls[0]
        )
    if in_form:
        return _answer(turn)
    return imported_step("assistant", turn.text, thought=turn.thought)


def _answer(turn: Said) -> Step:
    """An answer in the form of a row with tools; a text that is in the form already stays."""
    found = parse(turn.text)
    if turn.thought or (found.name is None and found.answer is None):
        written = write_answer(turn.text, turn.thought)
        return imported_step("assistant", written, thought=turn.thought, answer=turn.text)
    call = None
    if found.name is not None:
        identity = f"{_UNNAMED}{turn.place}"
        call = ToolCall(id=identity, name=found.name, arguments=found.arguments or "")
    return imported_step(
        "assistant", turn.text, thought=found.thought, call=call, answer=found.answer
    )
