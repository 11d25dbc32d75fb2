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
    return read_conversation(row, "messages", named=False)


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
