"""The one reader of conversations, for every spelling that files use.

A turn has a `role` and `content`, or `from` and `value`. Its loss mark is called `loss`, `train` or
`weight`. Its calls are in `tool_calls`, in `function_call`, or are the text of a turn by
`function_call`. Null counts as absent. Turns of every format become `RowTurn`s and are written in
the canonical grammar by the same rules:

* each of several calls in one message becomes a turn of its own, followed by its result;
* an observation is written as the server writes one;
* an answer that is to be learned has text, and calls only tools that exist, with an object as
  arguments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from agentlm.exchange.calls import (
    RowTurn,
    calls_in,
    joined,
    numbered,
    with_calls_apart,
    with_calls_read,
)
from agentlm.exchange.keys import TURN_KEYS, check_keys, short
from agentlm.exchange.spelling import (
    CALLING,
    COMMON_KEYS,
    ROLES,
    SHAREGPT,
    Common,
    WrittenCall,
    WrittenTool,
    WrittenTurn,
    WrittenTurns,
    from_json,
)
from agentlm.exchange.turns import imported, imported_step, parse_row
from agentlm.messages import Message, ToolSpec
from agentlm.prompt.grammar import parse, read_arguments, write, write_answer
from agentlm.prompt.observation import observe
from agentlm.trajectory import Step, Trajectory

_HELD_OUT = re.compile(
    r"(?<![a-z])(test|testing|dev|eval|evaluation|validation|valid|val)(?![a-z])", re.IGNORECASE
)

TEMPLATE_MARK = re.compile(
    r"(<\|(im_start|im_end|eot_id|eom_id|end_header_id|end|endoftext|end_of_text|user|assistant)\|>"
    r"|<\|im_start\|>assistant|<start_of_turn>model|<end_of_turn>|</s>|\[/INST\]|<｜[^<>]{1,30}｜>)"
)
"""What chat templates write around turns."""
_ENDS_IN_MARK = re.compile(rf"{TEMPLATE_MARK.pattern}\s*\Z")


def read_conversation(row: object, key: str, *, named: bool) -> Trajectory:
    """The trajectory of a row that has turns under `key`. If `named`, the row's id is its task's.

    Raises ValueError for a row that can't be read, or whose meaning is uncertain.
    """
    common = parse_row(Common, row)
    assert isinstance(row, dict)
    row_turns = read_turns(row.get(key), key)
    check_keys(row, COMMON_KEYS | {key}, [turn.text for turn in row_turns])
    return trajectory_of(row_turns, common, named=named)


def read_turns(turns: Any, key: str) -> list[RowTurn]:
    """The turns under a row's key. Raises ValueError if one can't be read."""
    try:
        turns = from_json(turns)
    except ValueError as error:
        raise ValueError(f"{key}: {error}, got {short(turns)}") from None
    first = turns[0] if isinstance(turns, list) and turns else None
    spelling = SHAREGPT if isinstance(first, dict) and "from" in first else {}
    parsed = parse_row(WrittenTurns, {"turns": turns}, {"turns": key} | spelling).turns
    for index, raw in enumerate(turns):
        if not raw.keys() & _SAYING:
            raise ValueError(f"{key}.{index}: it has no content, got the keys {', '.join(raw)}")
        try:
            check_keys(raw, TURN_KEYS)
        except ValueError as error:
            raise ValueError(f"{key}.{index}.{error}") from None
    return [_row_turn(turn, f"{key}.{index}") for index, turn in enumerate(parsed)]


_SAYING = frozenset({"content", "value", "refusal", "tool_calls", "function_call"})


def trajectory_of(row_turns: Sequence[RowTurn], common: Common, *, named: bool) -> Trajectory:
    """The trajectory of these turns. If `named`, the row's id is its task's.

    Raises ValueError for turns in an impossible order, or that can't be written.
    """
    tools = _specs(common.tools or ())
    opened = _opened(row_turns, common.system)
    read = with_calls_read(opened, [tool.name for tool in tools]) if tools else opened
    turns = list(with_calls_apart(joined(read, in_form=bool(tools))))
    for turn in turns:
        _check_marks(turn)
        if turn.loss:
            _check_answer(turn, tools)
    steps = [_step(turn, in_form=bool(tools)) for turn in turns]
    name = str(common.id) if named and common.id is not None else None
    made = imported(steps, [turn.loss for turn in turns], task_id=name, tools=tools)
    if common.split is not None and _HELD_OUT.search(str(common.split)):
        made.metadata["split"] = "test"
    return made


def _specs(tools: Sequence[WrittenTool]) -> tuple[ToolSpec, ...]:
    specs: dict[str, ToolSpec] = {}
    for index, spec in enumerate(map(_spec, tools)):
        if specs.setdefault(spec.name, spec) != spec:
            raise ValueError(f"tools.{index}: {spec.name} is there twice, and differs")
    return tuple(specs.values())


def _spec(tool: WrittenTool) -> ToolSpec:
    function = tool.function
    return ToolSpec(
        name=function.name,
        description=function.description or "",
        parameters=function.parameters or {"type": "object", "properties": {}},
        strict=function.strict,
    )


def _row_turn(turn: WrittenTurn, place: str) -> RowTurn:
    role = ROLES[turn.role]
    text = turn.content or turn.refusal or ""
    loss = _loss(turn, place, own=role == "assistant")
    if turn.content and turn.refusal and turn.content != turn.refusal:
        raise ValueError(f"{place}.content and refusal: both are there, and differ")
    if turn.role in CALLING:
        return RowTurn(place, role, "", turn.reasoning, calls_in(text, place), loss=loss)
    if not turn.tool_calls and not turn.function_call:
        return RowTurn(place, role, text, turn.reasoning, (), turn.tool_call_id, turn.name, loss)
    if role != "assistant":
        raise ValueError(f"{place}: only the assistant calls tools, got {turn.role}")
    single = [WrittenCall(function=turn.function_call)] if turn.function_call else []
    calls = numbered(turn.tool_calls or single, place)
    return RowTurn(place, role, text, turn.reasoning, calls, loss=loss)


def _loss(turn: WrittenTurn, place: str, *, own: bool) -> bool | None:
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


def _opened(row_turns: Sequence[RowTurn], system: str | None) -> Sequence[RowTurn]:
    """The turns, after the row's own system text."""
    if not system:
        return row_turns
    if row_turns and row_turns[0].role == "system":
        if row_turns[0].text != system:
            raise ValueError(f"system: {row_turns[0].place} has another one, got {short(system)}")
        return row_turns
    return [RowTurn("system", "system", system), *row_turns]


def _check_marks(turn: RowTurn) -> None:
    mark = _ENDS_IN_MARK.search(turn.text, max(0, len(turn.text) - 64))
    if mark and turn.role in ("user", "assistant"):
        raise ValueError(
            f"{turn.place}: what a chat template writes would be read as words, got {mark[0]!r}; "
            "take it out, the model's own template writes it"
        )


def _check_answer(turn: RowTurn, tools: Sequence[ToolSpec]) -> None:
    if not turn.calls and not turn.text.strip():
        raise ValueError(f"{turn.place}: the assistant says nothing and calls nothing")
    for call in turn.calls:
        if read_arguments(call.arguments)[1]:
            raise ValueError(
                f"{turn.place}.tool_calls: the arguments of {call.name} are not an object, "
                f"got {short(call.arguments)}"
            )
        if tools and call.name not in [tool.name for tool in tools]:
            raise ValueError(f"{turn.place}.tool_calls: {call.name} is not among the tools")


def _step(turn: RowTurn, *, in_form: bool) -> Step:
    if turn.role == "tool":
        return imported_step("tool", observe(turn.text), tool_call_id=turn.call_id)
    if turn.role != "assistant":
        return imported_step(turn.role, turn.text)
    if turn.calls:
        thought = "\n".join(filter(None, (turn.thought, turn.text)))
        message = Message(role="assistant", content=thought, tool_calls=turn.calls)
        written = write(message)
        if turn.loss and parse(written).name != turn.calls[0].name:
            raise ValueError(
                f"{turn.place}: what it thinks before the call would be read as a turn of its own, "
                f"got {short(thought)}"
            )
        return imported_step("assistant", written, thought=thought or None, call=turn.calls[0])
    if in_form:
        return _answer(turn)
    return imported_step("assistant", turn.text, thought=turn.thought)


def _answer(turn: RowTurn) -> Step:
    """An answer in the form of rows with tools. A text already in the form stays as it is."""
    reading = parse(turn.text)
    if reading.answer is not None and not turn.thought:
        return imported_step("assistant", turn.text, thought=reading.thought, answer=reading.answer)
    answer, thought = turn.text, turn.thought
    if reading.answer is not None:
        answer, thought = reading.answer, "\n".join(filter(None, (thought, reading.thought)))
    written = write_answer(answer, thought)
    return imported_step("assistant", written, thought=thought or None, answer=answer)
