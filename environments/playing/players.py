"""Who plays: the task's expert, nobody, chance.

A player is asked for one turn at a time and sees the conversation as a client holds it. The model
behind a URL is in `model_player.py`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from agentlm.environments.task import OBSERVED, Move, Task
from agentlm.errors import OperatorError
from agentlm.messages import Message, ToolCall, ToolSpec


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn of a player. Of `call` and `answer` exactly one is set, unless `invalid` is."""

    thought: str = ""
    call: ToolCall | None = None
    answer: str | None = None
    invalid: str | None = None
    """Why the turn is neither a call nor an answer."""
    text: str | None = None
    """The turn verbatim, from a player that writes its actions into plain text."""
    cut: bool = False
    """It ran out of tokens."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    trajectory_id: str | None = None
    """Where the player's own server keeps this run."""


def whole_characters(text: str) -> str:
    """With a question mark for each half of a character, as JSON may hold and no file can."""
    return text.encode("utf-8", "replace").decode()


class ContextFullError(Exception):
    """The conversation no longer fits the player's context: the run is over, and it counts."""


class Player(Protocol):
    """Says what to do next."""

    @property
    def name(self) -> str:
        """As in the log."""
        ...

    async def reply(
        self, task: Task, attempt: int, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> Reply:
        """One turn, given the conversation so far.

        Raises ContextFullError, OperatorError (nothing will ever work: wrong URL, key or model),
        and anything else for an infrastructure failure.
        """
        ...


class GoldPlayer:
    """Plays the expert's moves: what an environment is checked with, and trajectories for free."""

    name = "gold"

    async def reply(
        self, task: Task, attempt: int, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> Reply:
        """The expert's next move."""
        if not task.gold:
            raise OperatorError(f"the tasks of {task.environment} come without an expert's moves")
        done = sum(message.role == "assistant" for message in messages)
        return _reply(task.gold[done], messages[-1].content)


class EmptyPlayer:
    """Answers nothing at once: scores 0 wherever a reward is honest."""

    name = "empty"

    async def reply(
        self, task: Task, attempt: int, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> Reply:
        """An empty answer."""
        return Reply(answer="")


class RandomPlayer:
    """Calls tools with words of the task, then answers with one: scores about 0."""

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    async def reply(
        self, task: Task, attempt: int, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> Reply:
        """A call three times out of four."""
        random = Random(f"{self._seed}/{task.id}/{attempt}/{len(messages)}")
        words = task.instruction.split()
        if random.random() < 0.25 or not tools:
            return Reply(answer=random.choice(words))
        tool = random.choice(tools)
        properties: dict[str, dict[str, Any]] = tool.parameters.get("properties", {})
        arguments = {name: _random_value(p, words, random) for name, p in properties.items()}
        return Reply(call=_call(tool.name, arguments))


def _random_value(schema: dict[str, Any], words: Sequence[str], random: Random) -> object:
    if schema.get("enum"):
        return random.choice(schema["enum"])
    match schema.get("type"):
        case "integer" | "number":
            return random.randrange(5)
        case "boolean":
            return random.random() < 0.5
        case _:
            return " ".join(random.choices(words, k=random.randint(1, 4)))


def _reply(move: Move, observed: str) -> Reply:
    if move.action is None:
        answer = (move.answer or "").replace(OBSERVED, observed.strip())
        return Reply(thought=move.thought, answer=answer)
    return Reply(thought=move.thought, call=_call(move.action.name, move.action.arguments))


def _call(name: str, arguments: dict[str, Any]) -> ToolCall:
    text = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(id=f"call_{uuid.uuid4().hex}", name=name, arguments=text)
