"""A solved task as a conversation, to be shown before another: the one-shot prompt."""

from __future__ import annotations

from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import GoldPlayer
from agentlm.environments.task import Environment
from agentlm.messages import Message
from agentlm.prompt.grammar import write_answer

_SEED_OFFSET = 1_000_003
"""Keeps the task that is shown apart from those that are played with the same seed."""


async def demonstration(environment: Environment, seed: int) -> tuple[Message, ...]:
    """What the expert did on a training task with more than one call."""
    tasks = environment.generate("train", seed + _SEED_OFFSET)
    task = next(task for task in tasks if len(task.gold) > 2)
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
