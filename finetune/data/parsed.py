"""What the turns of a row say, where its format told only their text: filters look at it."""

from __future__ import annotations

from agentlm.exchange.files import Malformed
from agentlm.messages import ToolCall
from agentlm.prompt.grammar import FINAL_ANSWER, parse
from agentlm.trajectory import Origin, Step, Trajectory


def parsed(row: Trajectory | Malformed) -> Trajectory | Malformed:
    """The row with thoughts, calls and answers of its imported turns.

    A turn without the grammar's labels stays text: plain chat, and forms of other agents.
    """
    if isinstance(row, Malformed):
        return row
    return row.model_copy(update={"steps": tuple(map(_read, row.steps))})


def _read(step: Step) -> Step:
    if step.origin is not Origin.IMPORTED or step.role != "assistant" or step.call or step.answer:
        return step
    if "Action:" not in step.text and FINAL_ANSWER not in step.text:
        return step
    said = parse(step.text)
    if said.name is None and said.answer is None:
        return step
    # An action of AgentInstruct is a name without arguments to this grammar.
    call = said.name and ToolCall(id="", name=said.name, arguments=said.arguments or "")
    read = {"thought": said.thought, "call": call or None, "answer": said.answer}
    return step.model_copy(update=read)
