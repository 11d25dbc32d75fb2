"""Calls of a conversation: found where they stand in text, and put into turns of one call each."""

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


class Said(NamedTuple):
    """A turn, whatever format it stood in."""

    place: str
    role: Role
    text: str
    thought: str | None = None
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    """On a result: the id of the call, if it was given."""
    name: str | None = None
    """On a result: the name of the tool, if it was given."""
    loss: bool | None = None
    """Whether an assistant's turn is learnt; None on others."""


def told_calls(text: str, place: str) -> tuple[ToolCall, ...]:
    """The calls that are all that a text says, as JSON: one object, or a list of them."""
    try:
        value = from_json(text)
        told = parse_row(WrittenCalls, {"calls": value if isinstance(value, list) else [value]})
    except ValueError as error:
        raise ValueError(f"{place}: a call is read from JSON, got {short(text)}: {error}") from None
    return numbered(told.calls, place)


def numbered(calls: Sequence[WrittenCall], place: str) -> tuple[ToolCall, ...]:
    """Calls with an id each: their place where they bring none."""
    return tuple(
        ToolCall(
            id=call.id or unnamed(f"{place}.{index}"),
            name=call.function.name,
            arguments=call.function.arguments,
        )
        for index, call in enumerate(calls)
    )


def unnamed(place: str) -> str:
    """The id of a call that has none."""
    return f"{_UNNAMED}{place}"


def with_calls_read(said: Iterable[Said], tools: Sequence[str]) -> Iterator[Said]:
    """The turns of a row with tools, with what their texts call and what results they hold.

    Raises ValueError for a call in another model's form: as text it would be learnt as an answer.
    """
    for turn in said:
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
    """What stands between tags in a text, and the text beside it, its parts on lines of their own.

    By hand: a pattern takes the square of the text's length, or worse, where no tag is closed.
    """
    opening, closing = f"<{tag}>", f"</{tag}>"
    found, beside, at = [], [], 0
    while (begin := text.find(opening, at)) >= 0 and (end := text.find(closing, begin)) >= 0:
        found.append(text[begin + len(opening) : end].strip())
        beside.append(text[at:begin])
        at = end + len(closing)
    return found, "\n".join([*beside, text[at:]])


def _with_thought_read(turn: Said) -> Said:
    """A turn with the thought that opens it between tags beside what it says."""
    found = _THOUGHT.match(turn.text) if "</think>" in turn.text else None
    if found is None:
        return turn
    thoughts = dict.fromkeys(filter(None, (turn.thought, found[1].strip())))
    return turn._replace(text=turn.text[found.end() :], thought="\n".join(thoughts) or None)


def _with_form_read(turn: Said, tools: Sequence[str]) -> Said:
    """A turn with the call that it has in the canonical form."""
    opens = turn.text.lstrip().startswith(("Thought:", "Action:"))
    if not opens and "Action:" not in turn.text:
        return turn
    parser = Parser()
    parser.feed(turn.text)
    found = parser.finish()[1]
    if found.name is None and opens and found.answer is None and turn.loss:
        raise ValueError(
            f"{turn.place}: it neither calls nor answers in the form that it begins with, got "
            f"{short(turn.text)}"
        )
    if found.name is None or not (opens or found.name in tools or found.error is None):
        return turn
    made_up = "" if parser.cut is None else turn.text[parser.cut :].strip()
    if made_up.removeprefix(OBSERVATION):
        raise ValueError(
            f"{turn.place}: after its call it goes on with an observation of its own, got "
            f"{short(made_up)}"
        )
    call = ToolCall(id=unnamed(turn.place), name=found.name, arguments=found.arguments or "")
    return turn._replace(text=found.thought or "", calls=(call,))


def _with_tags_read(turn: Said) -> Said:
    """A turn with the calls that stand in it between Hermes' and Qwen's tags."""
    found, beside = _between("tool_call", turn.text)
    text = re.sub(r"\n{3,}", "\n\n", beside).strip() if found else turn.text
    if turn.loss and (other := _OTHER_FORMS.search(text)):
        raise ValueError(
            f"{turn.place}: a call in a form that is not read, got "
            f"{short(text[other.start() :])}; write it as tool_calls"
        )
    if not found:
        return turn
    calls = told_calls(f"[{','.join(found)}]", turn.place)
    return turn._replace(text=text, calls=turn.calls + calls)


_PROGRAM = re.compile(r"\[?\s*([\w.-]+)\(")
_NAMED = re.compile(
    r'\{\s*"(?:name|action|tool|tool_name|function|function_name)"\s*:\s*"([^"]{1,128})"\s*,'
    r'\s*"(?:arguments|parameters|args|input|action_input|tool_input|id)"'
)
_CALL_KEYS = frozenset(
    ("id", "type", "name", "arguments", "parameters", "args", "input", "function", "index")
)


def _with_json_read(turn: Said, tools: Sequence[str]) -> Said:
    """A turn with the calls that are all it says, as JSON.

    Raises ValueError for one that has them amid other words, or calls as a program does.
    """
    if turn.calls:
        return turn
    text = turn.text.strip()
    if _calls(text, tools):
        return turn._replace(text="", calls=told_calls(text, turn.place))
    program = _PROGRAM.match(text) if text.endswith((")", ")]")) else None
    amid = _NAMED.finditer(text) if '":' in text or '" :' in text else ()
    found = next((it for it in (program, *amid) if it and it[1] in tools), None)
    if turn.loss and found:
        raise ValueError(
            f"{turn.place}: a call in a form that is not read, got "
            f"{short(text[found.start() :])}; write it as tool_calls"
        )
    return turn


def _calls(text: str, tools: Sequence[str]) -> bool:
    """Whether a text is JSON of calls, and of nothing else."""
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


def joined(said: Iterable[Said], *, in_form: bool) -> Iterator[Said]:
    """The turns with what was said right before a call, or called beside it, as one turn.

    Answers that follow each other are one turn too: `in_form` they are written as one.
    """
    last: Said | None = None
    for turn in said:
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


def with_calls_apart(said: Iterator[Said]) -> Iterator[Said]:
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
    """Take a call's result: by its id, else by the tool's name, else in turn."""
    any_id = call.id.startswith(_UNNAMED)
    exact = [place for place, result in enumerate(results) if result.call_id == call.id]
    likely = [
        place
        for place, result in enumerate(results)
        if (any_id or result.call_id is None) and result.name in (None, call.name)
    ]
    found = exact or likely or (list(range(len(results))) if alone else [])
    return results.pop(found[0]) if found else None
