"""The ReAct loop, and what it needs from its surroundings.

`run_agent` extends a `Transcript`: the policy writes a turn, the tool that the turn calls runs, and
the observation is appended, until an answer comes or a limit is reached. The policy decides what
comes next (`engine_policy.EnginePolicy` samples ids from an engine, `upstream_policy` asks another
server in messages), the tools (`tools.Toolbox`) act, and `commit` makes each turn durable before a
tool acts on it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Container
from contextlib import aclosing
from dataclasses import dataclass

from agentlm.agent.policy import Policy
from agentlm.agent.tool import Observation, ToolContext, Tools
from agentlm.agent.transcript import Transcript
from agentlm.messages import ToolCall
from agentlm.prompt.grammar import Fragment
from agentlm.trajectory import Origin, Outcome, Step


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may spend."""

    turns: int = 10
    """Turns the model may take. The last one has to be an answer."""
    tokens: int | None = None
    """All sampled tokens of the run (`max_tokens` of the request)."""
    turn_tokens: int = 1024
    """Sampled tokens of a turn while tools can be called: a small model may never close a
    string."""
    observation_tokens: int = 1024
    """Tokens of one observation. It also never gets more than half of the context that is left."""
    answer_tokens: int = 160
    """Context kept free for the answer. With less room left, the next turn has to be the answer."""
    repeats: int = 3
    """After the same call this many times in a row it is not run again; the next turn has to
    answer."""


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A tool of the server is about to run."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A tool of the server has run."""

    call: ToolCall
    observation: Observation


Event = Fragment | CallStarted | CallEnded
Commit = Callable[[Transcript], Awaitable[None]]


async def run_agent(
    policy: Policy,
    tools: Tools | None,
    transcript: Transcript,
    context: ToolContext,
    *,
    limits: Limits,
    commit: Commit,
) -> AsyncGenerator[Event, None]:
    """Extend `transcript` until it ends; its `outcome` and `finish_reason` then say how.

    A call of a tool that is not in `tools` is the client's: it ends the run as `requires_action`.
    Each turn is committed before its tool runs. Closing the generator cancels generation and tool.
    """
    try:
        turns = _turns(policy, tools, transcript, context, limits, commit)
        async with aclosing(turns) as events:
            async for event in events:
                yield event
    except BaseException as error:
        transcript.end(Outcome.ERROR if isinstance(error, Exception) else Outcome.CANCELLED, None)
        raise


async def _turns(
    policy: Policy,
    tools: Tools | None,
    transcript: Transcript,
    context: ToolContext,
    limits: Limits,
    commit: Commit,
) -> AsyncGenerator[Event, None]:
    own = {spec.name for spec in tools.specs()} if tools else set()
    for turn in range(1, limits.turns + 1):
        answering = turn > 1 and _must_answer(policy, transcript, limits, turn)
        if answering:
            policy.force_answer(transcript)
        budget = _budget(policy, transcript, limits, in_form=bool(own) and not answering)
        if budget < 1:
            transcript.end(Outcome.LIMIT, "length")
            return
        fragments = policy.next(transcript, max_tokens=budget, first=turn == 1)
        async with aclosing(fragments):
            async for fragment in fragments:
                yield fragment
        step = _last_sampled(transcript)
        if step.call is None or not _stands(step, step.call, own):
            _end(transcript, step, forced=answering)
            return
        if tools is None or step.call.name not in own:
            transcript.end(Outcome.REQUIRES_ACTION, "tool_calls")
            return
        if _repeats_itself(transcript, limits):
            observation = _refuse_repetition(limits)
        else:
            await commit(transcript)
            yield CallStarted(step.call)
            observation = await tools.call(step.call, context)
        room = min(limits.observation_tokens, policy.room(transcript) // 2)
        yield CallEnded(step.call, policy.observe(transcript, step.call, observation, room))


def _must_answer(policy: Policy, transcript: Transcript, limits: Limits, turn: int) -> bool:
    """Whether the turn after a call has to be the answer because no further turn is left or
    fits."""
    return (
        turn == limits.turns
        or _repeats_itself(transcript, limits)
        or policy.room(transcript) < limits.answer_tokens
    )


def _budget(policy: Policy, transcript: Transcript, limits: Limits, *, in_form: bool) -> int:
    """How many tokens the next turn may sample."""
    budget = policy.room(transcript)
    if in_form:
        budget = min(budget, limits.turn_tokens)
    if limits.tokens is not None:
        budget = min(budget, limits.tokens - transcript.sampled_tokens)
    return budget


def _last_sampled(transcript: Transcript) -> Step:
    return next(step for step in reversed(transcript.steps) if step.origin is Origin.SAMPLED)


def _stands(step: Step, call: ToolCall, own: Container[str]) -> bool:
    """Whether a call is to be acted on.

    A malformed call that an upstream made of its client's tool is passed on: the client judges it,
    as it would if it had asked the upstream itself.
    """
    of_upstream = step.token_ids is None and call.name not in own
    return step.finish_reason != "length" and (step.error is None or of_upstream)


def _end(transcript: Transcript, step: Step, *, forced: bool) -> None:
    if step.finish_reason == "length":
        transcript.end(Outcome.LIMIT, "length")
    elif step.error:
        filtered = step.finish_reason == "content_filter"
        transcript.end(Outcome.INVALID, "content_filter" if filtered else "stop")
    else:
        transcript.end(Outcome.LIMIT if forced else Outcome.COMPLETED, "stop")


def _repeats_itself(transcript: Transcript, limits: Limits) -> bool:
    """Whether the last calls of the run are all the same, as many as the limit allows."""
    calls = [step.call for step in transcript.steps[transcript.first :] if step.call]
    recent = [_key(call) for call in calls[-limits.repeats :]]
    return len(recent) == limits.repeats and len(set(recent)) == 1


def _refuse_repetition(limits: Limits) -> Observation:
    return Observation(
        f"This call was made {limits.repeats} times in a row and was not run again. Answer with "
        "what you know.",
        failed=True,
    )


def _key(call: ToolCall) -> tuple[str, str]:
    """Two calls are the same if tool and arguments are, whatever the spacing."""
    try:
        return call.name, json.dumps(call.parsed(), sort_keys=True)
    except (ValueError, RecursionError):
        return call.name, call.arguments
