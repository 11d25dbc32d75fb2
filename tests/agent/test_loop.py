"""The loop alone: a policy that plays a list of turns, tools that answer from a table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agentlm.agent.loop import CallEnded, CallStarted, Event, Limits, run_agent
from agentlm.agent.tool import Observation, ToolContext
from agentlm.agent.transcript import Transcript
from agentlm.messages import ToolCall, ToolSpec
from agentlm.prompt.grammar import Fragment
from agentlm.trajectory import FinishReason, Origin, Outcome, Step

CONTEXT = ToolContext("traj_1", "ann")


def call(name: str = "look", arguments: str = "{}") -> ToolCall:
    return ToolCall(id=f"call_{name}", name=name, arguments=arguments)


def says(answer: str = "Done.", **fields: Any) -> Step:
    return sampled(answer, answer=answer, **fields)


def calls(name: str = "look", arguments: str = "{}", **fields: Any) -> Step:
    return sampled("", call=call(name, arguments), **fields)


def sampled(text: str, **fields: Any) -> Step:
    defaults = {"finish_reason": "stop", "token_ids": (1, 2), **fields}
    return Step(role="assistant", origin=Origin.SAMPLED, text=text, **defaults)


def prompt(text: str, tokens: int = 1) -> Step:
    return Step(role="user", origin=Origin.PROMPT, text=text, token_ids=(0,) * tokens)


@dataclass
class ListPolicy:
    """Writes the turns of a list, each an assistant's step or an error to raise."""

    turns: Sequence[Step | Exception]
    context: int = 1000
    budgets: list[int] = field(default_factory=list)
    firsts: list[bool] = field(default_factory=list)
    forced: int = 0
    """Turns of the list that were played before the one that had to be an answer."""

    def room(self, transcript: Transcript) -> int:
        return self.context - len(transcript.ids)

    async def next(
        self, transcript: Transcript, *, max_tokens: int, first: bool
    ) -> AsyncGenerator[Fragment, None]:
        self.budgets.append(max_tokens)
        self.firsts.append(first)
        turn = self.turns[len(self.budgets) - 1]
        if isinstance(turn, Exception):
            raise turn
        transcript.sampled_tokens += len(turn.token_ids or ())
        transcript.add(turn)
        yield Fragment("call" if turn.call else "answer", turn.text)

    def observe(
        self, transcript: Transcript, call: ToolCall, observation: Observation, max_tokens: int
    ) -> Observation:
        seen = replace(observation, text=observation.text[:max_tokens])
        transcript.add(prompt(seen.text, len(seen.text)))
        return seen

    def force_answer(self, transcript: Transcript) -> None:
        self.forced = len(self.budgets)


@dataclass
class TableTools:
    """Answers calls from a table; what stands there as an exception is raised."""

    table: dict[str, str | Exception] = field(default_factory=lambda: {"look": "seen"})
    ran: list[ToolCall] = field(default_factory=list)

    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(ToolSpec(name=n, description="", parameters={}) for n in self.table)

    async def call(self, call: ToolCall, context: ToolContext) -> Observation:
        self.ran.append(call)
        found = self.table[call.name]
        if isinstance(found, Exception):
            raise found
        return Observation(found)


@dataclass
class Run:
    transcript: Transcript
    events: list[Event] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    """How many steps there were at each commit."""

    @property
    def end(self) -> tuple[Outcome, FinishReason | None]:
        return self.transcript.outcome, self.transcript.finish_reason


async def play(
    policy: ListPolicy, tools: TableTools | None = None, limits: Limits | None = None
) -> Run:
    it = Run(Transcript([prompt("Look.")]))
    it.transcript.first = 1

    async def commit(transcript: Transcript) -> None:
        it.commits.append(len(transcript.steps))

    turns = run_agent(
        policy, tools, it.transcript, CONTEXT, limits=limits or Limits(), commit=commit
    )
    async for event in turns:
        it.events.append(event)
    return it


async def test_an_answer_completes_the_run() -> None:
    it = await play(ListPolicy([says("42")]))

    assert it.end == (Outcome.COMPLETED, "stop")
    assert it.events == [Fragment("answer", "42")]


async def test_a_call_runs_and_its_observation_is_what_the_next_turn_sees() -> None:
    tools = TableTools()
    it = await play(ListPolicy([calls(), says()]), tools)

    assert it.end == (Outcome.COMPLETED, "stop")
    assert tools.ran == [call()]
    assert [type(event) for event in it.events] == [Fragment, CallStarted, CallEnded, Fragment]
    assert [step.text for step in it.transcript.steps] == ["Look.", "", "seen", "Done."]


async def test_a_turn_is_committed_before_its_tool_runs() -> None:
    it = await play(ListPolicy([calls(), calls(arguments='{"a": 1}'), says()]), TableTools())

    assert it.commits == [2, 4]


async def test_only_the_first_turn_is_the_first() -> None:
    policy = ListPolicy([calls(), says()])
    await play(policy, TableTools())

    assert policy.firsts == [True, False]


@pytest.mark.parametrize("tools", [None, TableTools()])
async def test_a_call_of_a_clients_tool_ends_the_run(tools: TableTools | None) -> None:
    it = await play(ListPolicy([calls("theirs")]), tools)

    assert it.end == (Outcome.REQUIRES_ACTION, "tool_calls")
    assert it.commits == []


@pytest.mark.parametrize(
    ("turn", "end"),
    [
        (says(finish_reason="length"), (Outcome.LIMIT, "length")),
        (calls(finish_reason="length"), (Outcome.LIMIT, "length")),
        (sampled("?", error="no call and no answer"), (Outcome.INVALID, "stop")),
        (calls(error="the arguments are not an object"), (Outcome.INVALID, "stop")),
        (
            says(error="content_filter", finish_reason="content_filter"),
            (Outcome.INVALID, "content_filter"),
        ),
    ],
)
async def test_what_is_cut_or_malformed_is_not_acted_on(
    turn: Step, end: tuple[Outcome, FinishReason]
) -> None:
    tools = TableTools()
    it = await play(ListPolicy([turn]), tools)

    assert it.end == end
    assert tools.ran == []


async def test_a_malformed_call_that_an_upstream_makes_of_a_clients_tool_is_the_clients() -> None:
    turn = calls("theirs", error="the arguments are not an object", token_ids=None)
    it = await play(ListPolicy([turn]), TableTools())

    assert it.end == (Outcome.REQUIRES_ACTION, "tool_calls")


async def test_the_last_turn_is_made_an_answer() -> None:
    policy = ListPolicy([calls(), calls(arguments='{"a": 1}'), says()])
    it = await play(policy, TableTools(), Limits(turns=3))

    assert policy.forced == 2
    assert it.end == (Outcome.LIMIT, "stop")


async def test_one_turn_is_enough_for_an_answer_and_is_not_forced() -> None:
    policy = ListPolicy([says()])
    it = await play(policy, TableTools(), Limits(turns=1))

    assert policy.forced == 0
    assert it.end == (Outcome.COMPLETED, "stop")


async def test_the_same_call_again_and_again_is_refused_and_then_has_to_be_an_answer() -> None:
    tools = TableTools()
    policy = ListPolicy([calls(arguments='{"a":1}'), calls(arguments='{"a": 1}'), says()])
    it = await play(policy, tools, Limits(repeats=2))

    assert len(tools.ran) == 1
    refused = [event for event in it.events if isinstance(event, CallEnded)][-1]
    assert refused.observation.failed
    assert "was not run again" in refused.observation.text
    assert policy.forced == 2
    assert it.end == (Outcome.LIMIT, "stop")


async def test_other_calls_between_are_no_repetition() -> None:
    tools = TableTools()
    turns = [calls(), calls(arguments='{"a": 1}'), calls(), says()]
    it = await play(ListPolicy(turns), tools, Limits(repeats=2))

    assert len(tools.ran) == 3
    assert it.end == (Outcome.COMPLETED, "stop")


async def test_without_room_for_another_call_the_next_turn_is_the_answer() -> None:
    policy = ListPolicy([calls(), says()], context=100)
    it = await play(policy, TableTools({"look": "x" * 60}), Limits(answer_tokens=70))

    assert policy.forced == 1
    assert it.end == (Outcome.LIMIT, "stop")


async def test_a_full_context_ends_the_run() -> None:
    it = await play(ListPolicy([], context=1))

    assert it.end == (Outcome.LIMIT, "length")


async def test_the_runs_tokens_bound_each_turn() -> None:
    policy = ListPolicy([calls(), says()])
    await play(policy, TableTools(), Limits(tokens=5))

    assert policy.budgets == [5, 3]


async def test_a_run_that_has_spent_its_tokens_ends() -> None:
    it = await play(ListPolicy([calls()]), TableTools(), Limits(tokens=2))

    assert it.end == (Outcome.LIMIT, "length")


async def test_a_turn_that_may_call_is_bounded_and_an_answer_is_not() -> None:
    within, forced, plain = (ListPolicy([calls(), says()]) for _ in range(3))
    await play(within, TableTools(), Limits(turn_tokens=7))
    await play(forced, TableTools(), Limits(turn_tokens=7, turns=2))
    await play(plain, None, Limits(turn_tokens=7))

    assert within.budgets == [7, 7]
    assert forced.budgets == [7, 993]
    assert plain.budgets == [999]


@pytest.mark.parametrize(("context", "seen"), [(1000, 10), (15, 6)])
async def test_an_observation_is_bounded_and_leaves_half_of_the_context(
    context: int, seen: int
) -> None:
    tools = TableTools({"look": "x" * 50})
    limits = Limits(observation_tokens=10, answer_tokens=0)
    it = await play(ListPolicy([calls(), says()], context=context), tools, limits)

    assert len(it.transcript.steps[2].text) == seen


@pytest.mark.parametrize(
    "turns", [[RuntimeError("on fire")], [calls(), says()]], ids=["policy", "tool"]
)
async def test_what_fails_ends_the_run_as_an_error(turns: list[Step | Exception]) -> None:
    tools = TableTools({"look": RuntimeError("on fire")})
    transcript = Transcript([prompt("Look.")])
    commit: Any = asyncio.sleep
    events = run_agent(
        ListPolicy(turns), tools, transcript, CONTEXT, limits=Limits(), commit=lambda _: commit(0)
    )
    with pytest.raises(RuntimeError, match="on fire"):
        [event async for event in events]

    assert (transcript.outcome, transcript.finish_reason) == (Outcome.ERROR, None)


async def test_a_run_that_is_closed_is_cancelled() -> None:
    transcript = Transcript([prompt("Look.")])
    commit: Any = asyncio.sleep
    events = run_agent(
        ListPolicy([calls(), says()]),
        TableTools(),
        transcript,
        CONTEXT,
        limits=Limits(),
        commit=lambda _: commit(0),
    )
    await anext(events)
    await events.aclose()

    assert transcript.outcome is Outcome.CANCELLED
