"""Records as the server would write them, small."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentlm.messages import Message, ToolCall, ToolSpec
from agentlm.store import Entry
from agentlm.trajectory import Interaction, Origin, Outcome, Sampling, Step, Trajectory

CALL = ToolCall(id="call_1", name="bash", arguments='{"command": "ls"}')
TOOL = ToolSpec(name="bash", description="Run it.", parameters={"type": "object"}, owner="server")


def trajectory(**fields: Any) -> Trajectory:
    """A header."""
    plain = {"owner": "ann", "source": "chat", "model": "tiny", "outcome": Outcome.COMPLETED}
    return Trajectory(**(plain | fields))


def prompt(ids: Sequence[int], text: str = "hello") -> Step:
    """A user's turn."""
    return Step(role="user", origin=Origin.PROMPT, text=text, token_ids=tuple(ids))


def sampled(ids: Sequence[int], text: str = "hi", **fields: Any) -> Step:
    """An assistant's turn; its log-probabilities are exact in float32."""
    return Step(
        role="assistant",
        origin=Origin.SAMPLED,
        text=text,
        token_ids=tuple(ids),
        logprobs=tuple(-0.25 * (token % 8) for token in ids),
        finish_reason="stop",
        weights_version="w1",
        sampling=Sampling(temperature=0.5),
        **fields,
    )


def full_step() -> Step:
    """A step with every field set."""
    return Step(
        role="assistant",
        origin=Origin.SAMPLED,
        text="Thought: look\x00 🙂\nAction: bash",
        token_ids=(0, 1, 2**32 - 1),
        logprobs=(-0.5, float("-inf"), 0.0),
        single_choice=(True, False, True),
        thought="look",
        call=CALL,
        answer="none",
        tool_call_id="call_0",
        failed=True,
        error="repetition",
        finish_reason="length",
        discarded_ids=(7, 8),
        sampling=Sampling(stop=("\n",), logit_bias={3: -1.5}, seed=1),
        weights_version="w",
        tokenizer_digest="t",
        constraint_digest="c",
        started=1234.5678,
        seconds=0.25,
    )


def interaction(of: Trajectory, first_step: int, end_step: int, **fields: Any) -> Interaction:
    """One answered request."""
    plain = {
        "completion_id": f"chatcmpl-{uuid.uuid4().hex}",
        "owner": of.owner,
        "messages": (Message(role="user", content="hello"),),
        "response": Message(role="assistant", content="hi"),
        "finish_reason": "stop",
        "trajectory_id": of.id,
        "first_step": first_step,
        "end_step": end_step,
    }
    return Interaction(**(plain | fields))


def chat(keys: Sequence[str] = (), ids: Sequence[int] = (1, 2, 3), **fields: Any) -> Entry:
    """A whole conversation of one question and one answer."""
    header = trajectory(**fields)
    steps = (prompt(ids), sampled([token + 1000 for token in ids]))
    return Entry(header, 0, steps, interaction(header, 0, 2), keys=tuple(keys))


def follow_up(entry: Entry, keys: Sequence[str] = (), ids: Sequence[int] = (4, 5)) -> Entry:
    """The next question and answer of the same trajectory."""
    first = entry.first_step + len(entry.steps)
    steps = (prompt(ids), sampled([token + 1000 for token in ids]))
    answered = interaction(entry.trajectory, first, first + 2)
    return replace(entry, first_step=first, steps=steps, interaction=answered, keys=tuple(keys))


def fork(entry: Entry, step: int, ids: Sequence[int] = (6, 7), keys: Sequence[str] = ()) -> Entry:
    """A new trajectory that shares the first `step` steps of another."""
    header = trajectory(
        owner=entry.trajectory.owner, parent_id=entry.trajectory.id, parent_step=step
    )
    steps = (prompt(ids), sampled([token + 1000 for token in ids]))
    answered = interaction(header, step, step + 2)
    return Entry(header, step, steps, answered, keys=tuple(keys))
