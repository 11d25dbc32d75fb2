"""Negatives: plain questions with unsuitable tools, answered without a call.

A model that only saw tools where it used them calls one for everything. These rows combine general
rows with tool sets of the agent rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from agentlm.exchange.files import Malformed
from agentlm.exchange.text import is_plain
from agentlm.messages import ToolSpec
from agentlm.prompt.grammar import write_answer
from agentlm.trajectory import Origin, Step, Trajectory

NO_TOOL = "None of the tools is needed for this; I can answer from what I know."

Tools = tuple[ToolSpec, ...]


class ToolSets:
    """The distinct tool sets of the rows so far."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._seen: dict[tuple[str, ...], Tools] = {}

    def add(self, tools: Tools) -> None:
        """Remember a tool set if it is new and there is room."""
        names = tuple(tool.name for tool in tools)
        if tools and len(self._seen) < self._most:
            self._seen.setdefault(names, tools)

    def all(self) -> list[Tools]:
        """The sets, in order of arrival."""
        return list(self._seen.values())


def with_negatives(
    rows: Iterable[Trajectory | Malformed],
    tools: Sequence[Tools],
    share: float,
    seed: int,
    *,
    thoughts: bool = True,
) -> Iterator[Trajectory | Malformed]:
    """The rows, some of them (`share`, by seed) as negatives. Rows with tools, and text that
    is no conversation, stay unchanged.

    With `thoughts`, a thought precedes the answer.
    """
    thought = NO_TOOL if thoughts else None
    random = Random(seed)
    for row in rows:
        chosen = random.random() < share
        if chosen and tools and isinstance(row, Trajectory) and _is_plain_chat(row):
            yield _negative(row, random.choice(tools), thought)
        else:
            yield row


def _is_plain_chat(row: Trajectory) -> bool:
    return not row.tools and not is_plain(row)


def _negative(row: Trajectory, tools: Tools, thought: str | None) -> Trajectory:
    steps = [_without_ids(step, thought) for step in row.steps]
    return row.model_copy(update={"tools": tools, "steps": tuple(steps)})


def _without_ids(step: Step, thought: str | None) -> Step:
    """The text only: the ids belong to another prompt and another answer."""
    text = step.text
    if step.role == "assistant" and step.origin is not Origin.FORCED:
        text = write_answer(step.text, thought)
    return step.model_copy(
        update={"text": text, "token_ids": None, "tokenizer_digest": None, "logprobs": None}
    )
