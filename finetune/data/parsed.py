"""Thoughts, calls and answers in rows whose format has only text, since filters look at them."""

from __future__ import annotations

from agentlm.exchange.files import Malformed
from agentlm.messages import ToolCall
from agentlm.prompt.grammar import FINAL_ANSWER, parse
from agentlm.trajectory import Origin, Step, Trajectory


def parsed(row: Trajectory | Malformed) -> Trajectory | Malformed:
    """The row with thoughts, calls and answers of its imported turns.

    A turn without the grammar's labels stays text: plain chat, and other agents' forms.
    """
    if isinstance(row, Malformed):
        return row
    return row.model_copy(update={"steps": tuple(map(_read, row.steps))})


def _read(step: Step) -> Step:
    if step.origin is not Origin.IMPORTED or step.role != "assistant" or step.call or step.answer:
        return step
    if "Action:" not in step.text and FINAL_ANSWER not in step.text:
        return step
    reading = parse(step.text)
    if reading.name is None and reading.answer is None:
        return step
    # For this grammar, an action of AgentInstruct is a name without arguments.
    call = reading.name and ToolCall(id="", name=reading.name, arguments=reading.arguments or "")
    read = {"thought": reading.thought, "call": call or None, "answer": reading.answer}
    return step.model_copy(update=read)
