"""Calls of a conversation: find them in text, and make turns of one call each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agentlm.exchange.keys import short
from agentlm.exchange.spelling import WrittenCall, WrittenCalls, from_json
from agentlm.exchange.turns import parse_row
from agentlm.messages import Role, ToolCall
from agentlm.prompt.grammar import Parser
from agentlm.prompt.observation import OBSERVATION

_UNNAMED = "call_of_"
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
_OTHER_FORMS = re.compile(
    r"</?tool_call>|<\|?tool_calls?(?:_|\b)|```tool_c|<functioncall>|<｜tool▁|<function[ =]|"
    r"<function_calls?>|<invoke |\[TOOL_CALLS\]|<\|python_tag\|>"
)


class RowTurn(NamedTuple):
    """A turn of a row, read from any format."""

    place: str
    role: Role
    text: str
    thought: str | None = None
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    """On a result: the id of the call, if the row has it."""
    name: str | None = None
    """On a result: the name of the tool, if the row has it."""
    loss: bool | None = None
    """Whether an assistant's turn is learned; None on other turns."""


def calls_in(text: str, place: str) -> tuple[ToolCall, ...]:
    """The calls of a text that is JSON of calls and nothing else: one object or a list of them."""
    try:
        value = from_json(text)
        written = parse_row(WrittenCalls, {"calls": value if isinstance(value, list) else [value]})
    except ValueError as error:
        raise ValueError(f"{place}: a call is read from JSON, got {short(text)}: {error}") from None
    return numbered(written.calls, place)


def numbered(calls: Sequence[WrittenCall], place: str) -> tuple[ToolCall, ...]:
    """Calls with an id each. Calls without one get an id from their place."""
    return tuple(
        ToolCall(
            id=call.id or unnamed(f"{place}.{index}"),
            name=call.function.name,
            arguments=call.function.arguments,
        )
        for index, call in enumerate(calls)
    )


def unnamed(place: str) -> str:
    """An id for a call that has none."""
    return f"{_UNNAMED}{place}"


def with_calls_read(row_turns: Iterable[RowTurn], tools: Sequence[str]) -> Iterator[RowTurn]:
    """The turns of a row with tools, with calls and results read out of their texts.

    Raises ValueError for a call in another model's form: as text it would be learned as an answer.
    """
    for turn in row_turns:
        if turn.role in ("tool", "user"):
            results, beside = _between("tool_response", turn.text)
            if not results or beside.strip():
                yield turn
            else:
                yield from (turn._replace(role="tool", text=result) for result in results)
        elif turn.role != "assistant":
            yield turn
        elif turn.calls:
            yield _with_thought_read(turn)
        else:
            read = _with_form_read(_with_thought_read(turn), tools)
            yield read if read.calls else _with_json_read(_with_tags_read(read), tools)


def _between(tag: str, text: str) -> tuple[list[str], str]:
    """The parts of a text between tags, and the text around them, its parts on separate lines.

    Written without a pattern: where a tag is not closed, a pattern takes quadratic time or worse.
    """
    opening, closing = f"<{tag}>", f"</{tag}>"
    inner, beside, at = [], [], 0
    while (begin := text.find(opening, at)) >= 0 and (end := text.find(closing, begin)) >= 0:
        inner.append(text[begin + len(opening) : end].strip())
        beside.append(text[at:begin])
        at = end + len(closing)
    return inner, "\n".join([*beside, text[at:]])


def _with_thought_read(turn: RowTurn) -> RowTurn:
    """The turn with a leading thought between tags moved to its `thought`."""
    thought_match = _THOUGHT.match(turn.text) if "</think>" in turn.text else None
    if thought_match is None:
        return turn
    thoughts = dict.fromkeys(filter(None, (turn.thought, thought_match[1].strip())))
    return turn._replace(text=turn.text[thought_match.end() :], thought="\n".join(thoughts) or None)


def _with_form_read(turn: RowTurn, tools: Sequence[str]) -> RowTurn:
    """The turn with the call that it makes in the canonical form."""
    opens = turn.text.lstrip().startswith(("Thought:", "Action:"))
    if not opens and "Action:" not in turn.text:
        return turn
    parser = Parser()
    parser.feed(turn.text)
    reading = parser.finish()[1]
    if reading.name is None and opens and reading.answer is None and turn.loss:
        raise ValueError(
            f"{turn.place}: it neither calls nor answers in the form that it begins with, got "
            f"{short(turn.text)}"
        )
    if reading.name is None or not (opens or reading.name in tools or reading.error is None):
        return turn
    made_up = "" if parser.cut is None else turn.text[parser.cut :].strip()
    if made_up.removeprefix(OBSERVATION):
        raise ValueError(
            f"{turn.place}: after its call it goes on with an observation of its own, got "
            f"{short(made_up)}"
        )
    call = ToolCall(id=unnamed(turn.place), name=reading.name, arguments=reading.arguments or "")
    return turn._replace(text=reading.thought or "", calls=(call,))


def _with_tags_read(turn: RowTurn) -> RowTurn:
    """The turn with the calls that it has between Hermes' and Qwen's tags."""
    inner, beside = _between("tool_call", turn.text)
    text = re.sub(r"\n{3,}", "\n\n", beside).strip() if inner else turn.text
    if turn.loss and (other := _OTHER_FORMS.search(text)):
        raise ValueError(
            f"{turn.place}: a call in a form that is not read, got "
            f"{short(text[other.start() :])}; write it as tool_calls"
        )
    if not inner:
        return turn
    calls = calls_in(f"[{','.join(inner)}]", turn.place)
    return turn._replace(text=text, calls=turn.calls + calls)


_PROGRAM = re.compile(r"\[?\s*([\w.-]+)\(")
_NAMED = re.compile(
    r'\{\s*"(?:name|action|tool|tool_name|function|function_name)"\s*:\s*"([^"]{1,128})"\s*,'
    r'\s*"(?:arguments|parameters|args|input|action_input|tool_input|id)"'
)
_CALL_KEYS = frozenset(
    ("id", "type", "name", "arguments", "parameters", "args", "input", "function", "index")
)


def _with_json_read(turn: RowTurn, tools: Sequence[str]) -> RowTurn:
    """The turn with its calls, if it is JSON of calls and nothing else.

    Raises ValueError if calls stand among other words, or are written as a program's.
    """
    if turn.calls:
        return turn
    text = turn.text.strip()
    if _calls(text, tools):
        return turn._replace(text="", calls=calls_in(text, turn.place))
    program = _PROGRAM.match(text) if text.endswith((")", ")]")) else None
    amid = _NAMED.finditer(text) if '":' in text or '" :' in text else ()
    call_like = next((it for it in (program, *amid) if it and it[1] in tools), None)
    if turn.loss and call_like:
        raise ValueError(
            f"{turn.place}: a call in a form that is not read, got "
            f"{short(text[call_like.start() :])}; write it as tool_calls"
        )
    return turn


def _calls(text: str, tools: Sequence[str]) -> bool:
    """Whether a text is JSON of calls and nothing else."""
    if not text.startswith(("{", "[")):
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(
        isinstance(item, dict)
        and len(item) > 1
        and item.keys() <= _CALL_KEYS
        and _called(item) in tools
        for item in items
    )


def _called(item: Mapping[str, Any]) -> Any:
    inner = item.get("function")
    return inner.get("name") if isinstance(inner, dict) else item.get("name")


def joined(row_turns: Iterable[RowTurn], *, in_form: bool) -> Iterator[RowTurn]:
    """Join the text right before a call, or beside it, with the call into one turn.

    Consecutive answers become one turn, too: `in_form` they are written as one.
    """
    last: RowTurn | None = None
    for turn in row_turns:
        if last and last.role == turn.role == "assistant" and (last.calls or turn.calls):
            if turn.text or turn.thought or not turn.calls or turn.loss != last.loss:
                raise ValueError(
                    f"{turn.place}: it follows a turn of the assistant that is not over"
                )
            last = last._replace(calls=last.calls + turn.calls)
            continue
        if in_form and last and last.role == turn.role == "assistant":
            if turn.thought:
                raise ValueError(
                    f"{turn.place}: it thinks amid a turn of the assistant that is not over"
                )
            if turn.loss == last.loss:
                last = last._replace(text=f"{last.text}\n\n{turn.text}")
                continue
        if last:
            yield last
        last = turn
    if last:
        yield last


def with_calls_apart(row_turns: Iterator[RowTurn]) -> Iterator[RowTurn]:
    """Turns of at most one call, each followed by its own result."""
    left = list(row_turns)[::-1]
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


def _result(call: ToolCall, results: list[RowTurn], *, alone: bool) -> RowTurn | None:
    """Take a call's result: by its id, else by the tool's name, else the first one left."""
    any_id = call.id.startswith(_UNNAMED)
    exact = [place for place, result in enumerate(results) if result.call_id == call.id]
    likely = [
        place
        for place, result in enumerate(results)
        if (any_id or result.call_id is None) and result.name in (None, call.name)
    ]
    matches = exact or likely or (list(range(len(results))) if alone else [])
    return results.pop(matches[0]) if matches else None
