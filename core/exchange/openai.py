"""OpenAI's rows for fine-tuning chat models: `{"messages": […], "tools": […]}`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agentlm.exchange.conversation import read_conversation
from agentlm.exchange.turns import Turn, call_of, turns
from agentlm.messages import ToolSpec
from agentlm.openai_messages import write_call, write_tool
from agentlm.prompt.observation import observed
from agentlm.prompt.preamble import preamble_in
from agentlm.trajectory import Step, Trajectory


def to_openai(trajectory: Trajectory) -> dict[str, Any]:
    """Calls and thoughts are separate from content, and no text describes the tools."""
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
    """The trajectory of a row, with its calls in the canonical grammar.

    Raises ValueError for an answer to learn that is empty, or that calls a tool that isn't there.
    """
    return read_conversation(row, "messages", named=False)


def _answer(turn: Turn) -> dict[str, Any]:
    main_step = turn.steps[-1] if len(turn.steps) == 1 else _sampled(turn)
    message: dict[str, Any] = {"role": "assistant"}
    call = call_of(turn)
    if call is not None:
        message["content"] = None
        message["tool_calls"] = [write_call(call)]
    else:
        text = "".join(step.text for step in turn.steps)
        message["content"] = text if main_step.answer is None else main_step.answer
    if main_step.thought is not None:
        message["reasoning_content"] = main_step.thought
    return message | {"weight": int(bool(turn.loss))}


def _sampled(turn: Turn) -> Step:
    """The step of a turn whose text the grammar has read."""
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
