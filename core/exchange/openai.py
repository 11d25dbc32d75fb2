"""OpenAI's rows for fine-tuning chat models: `{"messages": […], "tools": […]}`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from agentlm.exchange.turns import Turn, call_of, imported, imported_step, parse_row, turns
from agentlm.messages import Message, ToolCall, ToolSpec
from agentlm.openai_messages import write_call, write_tool
from agentlm.prompt.grammar import (
    observe,
    observed,
    preamble_in,
    read_arguments,
    write,
    write_answer,
)
from agentlm.trajectory import Step, Trajectory


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Function(BaseModel):
    name: str
    arguments: str


class _Call(BaseModel):
    id: str
    function: _Function


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] = []
    tool_call_id: str | None = None
    function_call: object = None
    weight: Literal[0, 1] = 1


class _ToolFunction(BaseModel):
    name: str
    description: str = ""
    parameters: dict[str, Any] = {"type": "object", "properties": {}}
    strict: bool | None = None


class _Tool(BaseModel):
    function: _ToolFunction


class _Row(BaseModel):
    messages: list[_Message] = Field(min_length=1)
    tools: list[_Tool] = []


def to_openai(trajectory: Trajectory) -> dict[str, Any]:
    """A row: calls and thoughts apart from content, and no description of tools in any text."""
    messages: list[dict[str, Any]] = []
    for turn in turns(trajectory):
        if turn.by_assistant:
            messages.append(_answer(turn))
        else:
            messages += _others(turn, trajectory.tools)
    row: dict[str, Any] = {"messages": messages}
    if trajectory.tools:
        row["tools"] = [write_tool(spec) for spec in trajectory.tools]
    return row


def from_openai(row: object) -> Trajectory:
    """The trajectory of a row, its calls written in the canonical grammar.

    Raises ValueError for an answer to learn that says nothing, or calls what is not there.
    """
    parsed = parse_row(_Row, row)
    for index, message in enumerate(parsed.messages):
        if message.role == "assistant" and message.weight:
            _check_answer(f"messages.{index}", message, parsed.tools)
    tools = tuple(ToolSpec(**tool.function.model_dump()) for tool in parsed.tools)
    steps = [_step(message, in_form=bool(tools)) for message in parsed.messages]
    loss = [
        message.weight == 1 if message.role == "assistant" else None for message in parsed.messages
    ]
    return imported(steps, loss, task_id=None, tools=tools)


def _check_answer(place: str, message: _Message, tools: list[_Tool]) -> None:
    if message.function_call is not None:
        raise ValueError(f"{place}.function_call: calls are read from tool_calls only")
    if not message.tool_calls and not _text(message.content).strip():
        raise ValueError(f"{place}: the assistant says nothing and calls nothing")
    for function in (call.function for call in message.tool_calls):
        if read_arguments(function.arguments)[1]:
            raise ValueError(f"{place}.tool_calls: the arguments of {function.name} are no object")
        if tools and function.name not in [tool.function.name for tool in tools]:
            raise ValueError(f"{place}.tool_calls: {function.name} is not among the tools")


def _answer(turn: Turn) -> dict[str, Any]:
    said = turn.steps[-1] if len(turn.steps) == 1 else _sampled(turn)
    message: dict[str, Any] = {"role": "assistant"}
    call = call_of(turn)
    if call is not None:
        message["content"] = None
        message["tool_calls"] = [write_call(call)]
    else:
        text = "".join(step.text for step in turn.steps)
        message["content"] = text if said.answer is None else said.answer
    if said.thought is not None:
        message["reasoning_content"] = said.thought
    return message | {"weight": int(bool(turn.loss))}


def _sampled(turn: Turn) -> Step:
    """The step of a turn that was read by the grammar."""
    read = (step for step in turn.steps if step.answer is not None or step.thought is not None)
    return next(read, turn.steps[-1])


def _others(turn: Turn, tools: Sequence[ToolSpec]) -> Iterator[dict[str, Any]]:
    for step in turn.steps:
        text = step.text
        if preamble := preamble_in(text, tools) if tools else "":
            text = text.replace(preamble, "").strip("\n")
        if step.role == "tool":
            content = observed(step.text)
            yield {"role": "tool", "tool_call_id": step.tool_call_id, "content": content}
        elif text or step.role == "user":
            yield {"role": step.role, "content": text}


def _step(message: _Message, *, in_form: bool) -> Step:
    text = _text(message.content)
    if message.role == "tool":
        return imported_step("tool", observe(text), tool_call_id=message.tool_call_id)
    if message.role != "assistant":
        return imported_step("system" if message.role == "developer" else message.role, text)
    if len(message.tool_calls) > 1:
        raise ValueError("messages: one call a turn is all that the grammar can write")
    thought = message.reasoning_content
    if message.tool_calls:
        return _calling(message.tool_calls[0], thought or text)
    if in_form:
        written = write_answer(text, thought)
        return imported_step("assistant", written, thought=thought, answer=text)
    return imported_step("assistant", text, thought=thought, answer=text)


def _calling(told: _Call, thought: str) -> Step:
    call = ToolCall(id=told.id, name=told.function.name, arguments=told.function.arguments)
    text = write(Message(role="assistant", content=thought, tool_calls=(call,)))
    return imported_step("assistant", text, thought=thought or None, call=call)


def _text(content: str | list[_Part] | None) -> str:
    if isinstance(content, list):
        return "".join(part.text for part in content)
    return content or ""
