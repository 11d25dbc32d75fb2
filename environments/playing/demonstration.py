"""A solved task as a conversation, to be shown before another: the one-shot prompt."""

from __future__ import annotations

from itertools import islice

from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import GoldPlayer
from agentlm.environments.task import Environment
from agentlm.errors import OperatorError
from agentlm.messages import Message
from agentlm.prompt.grammar import write_answer

_LOOKED_AT = 500
_SEED_OFFSET = 1_000_003
"""Keeps the task that is shown apart from those that are played with the same seed."""


async def demonstration(environment: Environment, seed: int) -> tuple[Message, ...]:
    """What the expert did on a training task with more than one call.

    Raises OperatorError if there is none among the first tasks.
    """
    tasks = islice(environment.generate("train", seed + _SEED_OFFSET), _LOOKED_AT)
    task = next((task for task in tasks if len(task.gold) > 2), None)
    if task is None:
        raise OperatorError(f"--one-shot: {environment.name} has no expert's moves to show")
    run = await play(environment, task, GoldPlayer())
    messages = list(run.opening)
    for exchange in run.exchanges:
        if exchange.call is None or exchange.observation is None:
            text = write_answer(exchange.answer or "", exchange.thought)
            messages.append(Message(role="assistant", content=text))
        else:
            call, seen = exchange.call, exchange.observation
            messages += [
                Message(role="assistant", content=exchange.thought, tool_calls=(call,)),
                Message(role="tool", content=seen.text, tool_call_id=call.id),
            ]
    return tuple(messages)
