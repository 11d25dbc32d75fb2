"""One try at one task: the player and the world in turn, until an answer, a limit or a failure."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from agentlm.agent.tool import Observation
from agentlm.environments.error_classes import (
    ErrorClass,
    Exchange,
    classify,
    complaint,
    repeated_calls,
)
from agentlm.environments.invented_names import invented_names
from agentlm.environments.playing.players import (
    ContextFullError,
    Player,
    Reply,
    whole_characters,
)
from agentlm.environments.task import (
    Action,
    EarningTask,
    Environment,
    OpenTask,
    StrictTask,
    Task,
    max_equal_calls,
    tools_of,
)
from agentlm.errors import OperatorError
from agentlm.messages import Message, ToolCall, ToolSpec
from agentlm.trajectory import Outcome

T = TypeVar("T")

STEP_TIMEOUT_S = 300.0
"""A world that takes longer to open, to run a call, to score or to close is broken."""
_MAX_CHARS = 20_000
"""Characters of one turn that are kept, or run, and of one observation; a server may ignore the
bound on tokens, and a world may flood."""


@dataclass
class Play:
    """What happened in one try, and how it was judged."""

    task: Task
    attempt: int
    opening: tuple[Message, ...]
    """The messages before the player's first turn."""
    context: str
    """All that the player was told until now, tools and observations included."""
    exchanges: list[Exchange] = field(default_factory=list)
    outcome: Outcome = Outcome.LIMIT
    reward: float | None = 0.0
    """None if the infrastructure failed, which says nothing about the player."""
    broken: Exception | None = None
    """What failed then."""
    started: float = field(default_factory=time.time)
    seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    trajectory_id: str | None = None
    """Where the player's server keeps this run."""

    @property
    def error_classes(self) -> tuple[ErrorClass, ...]:
        """What went wrong on the way."""
        return classify(self.exchanges)

    def note(
        self,
        reply: Reply,
        observation: Observation | None,
        invalid: str | None,
        earned: float | None = None,
    ) -> None:
        """Keep one turn, what was observed, and the reward so far."""
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self.trajectory_id = reply.trajectory_id
        answer = None if reply.answer is None else reply.answer[:_MAX_CHARS]
        thought = reply.thought[:_MAX_CHARS]
        invented: tuple[str, ...] = ()
        if reply.call is not None and invalid is None:
            failed = observation is not None and observation.failed
            invented = invented_names(reply.call, self.context, failed=failed)
        self.exchanges.append(
            Exchange(thought, reply.call, answer, observation, invalid, invented, earned)
        )
        if observation is not None:
            self.context += f"\n{observation.text}"


async def play(
    environment: Environment,
    task: Task,
    player: Player,
    attempt: int = 0,
    *,
    before: Sequence[Message] = (),
    step_timeout_s: float = STEP_TIMEOUT_S,
) -> Play:
    """Play to the end. `before` is an example of a solved task that precedes this one.

    A run without a final answer scores what was earned on the way, which is 0 in worlds that tell
    nothing of it. If the world or the player's server breaks, the outcome is `error` without a
    reward. Raises OperatorError if no try could ever work.
    """
    begun = time.monotonic()
    opening = Message(role="user", content=environment.prompt(task))
    messages = (*before, opening)
    run = Play(task, attempt, messages, _context_of(messages, tools_of(environment, task)))
    try:
        async with _opened(environment, task, step_timeout_s) as world:
            await _until_end(environment, world, player, run)
            run.reward = await _reward(world, run)
    except OperatorError:
        raise
    except Exception as error:  # noqa: BLE001  the boundary: whatever broke, it was not the player
        run.outcome, run.reward, run.broken = Outcome.ERROR, None, error
    run.seconds = time.monotonic() - begun
    return run


class _BoundedWorld:
    """A world that answers within its time, by its own contract; or it is broken."""

    def __init__(self, world: OpenTask, seconds: float) -> None:
        self._world = world
        self._seconds = seconds
        # Asked once: to compare with a protocol takes as long as a whole step of some worlds.
        self._earning = world if isinstance(world, EarningTask) else None
        self._strict = world if isinstance(world, StrictTask) else None

    @property
    def over(self) -> bool:
        """Whether it has come to its end by itself."""
        return self._earning is not None and self._earning.over

    @property
    def earned(self) -> float | None:
        """The reward so far, if it tells."""
        return None if self._earning is None else _checked(self._earning.earned)

    async def act(self, action: Action) -> Observation:
        """Run one call; a flood of words is cut, and of half a character nothing can be told."""
        seen = await _in_time(self._world.act(action), self._seconds, f"to run {action.name}")
        text = whole_characters(seen.text[:_MAX_CHARS])
        return replace(seen, text=text if len(seen.text) <= _MAX_CHARS else f"{text}… (cut)")

    async def refused(self) -> None:
        """Tell a world that wants to know."""
        if self._strict is not None:
            await _in_time(self._strict.refused(), self._seconds, "to note a call that was refused")

    async def score(self, answer: str) -> float:
        """Judge an answer."""
        return _checked(await _in_time(self._world.score(answer), self._seconds, "to score"))


@asynccontextmanager
async def _opened(
    environment: Environment, task: Task, seconds: float
) -> AsyncIterator[_BoundedWorld]:
    opening = environment.open(task)
    world = await _in_time(opening.__aenter__(), seconds, "to open")
    try:
        yield _BoundedWorld(world, seconds)
    finally:
        await _in_time(opening.__aexit__(None, None, None), seconds, "to close")


async def _in_time(work: Awaitable[T], seconds: float, purpose: str) -> T:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"the world took more than {seconds:g} s {purpose}") from None
        raise


async def _reward(world: _BoundedWorld, run: Play) -> float:
    if run.outcome is Outcome.COMPLETED and not world.over:
        return await world.score(run.exchanges[-1].answer or "")
    return world.earned or 0.0


def _checked(reward: float) -> float:
    if not math.isfinite(reward) or not 0 <= reward <= 1:
        raise ValueError(f"the world gave the reward {reward}; allowed: 0 to 1")
    return float(reward)


def _context_of(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
    texts = [tool.model_dump_json() for tool in tools]
    for message in messages:
        texts += [message.content, *(call.arguments for call in message.tool_calls)]
    return "\n".join(texts)


async def _until_end(
    environment: Environment, world: _BoundedWorld, player: Player, run: Play
) -> None:
    tools = tools_of(environment, run.task)
    messages = list(run.opening)
    for calls_left in reversed(range(environment.max_turns + 1)):
        try:
            reply = await player.reply(run.task, run.attempt, messages, tools)
        except ContextFullError:
            return
        reply = _bounded(reply)
        if reply.call is None or reply.cut or not calls_left:
            run.note(reply, None, reply.invalid, world.earned)
            run.outcome = _outcome(reply)
            return
        observation = await _called(reply.call, tools, world, reply, run)
        if world.over:
            run.outcome = Outcome.COMPLETED
            return
        if repeated_calls(run.exchanges) >= max_equal_calls(environment):
            return
        messages += _call_messages(reply, reply.call, observation)


async def _called(
    call: ToolCall, tools: Sequence[ToolSpec], world: _BoundedWorld, reply: Reply, run: Play
) -> Observation:
    """Run a call, or say why it can't be run; either is kept."""
    invalid = complaint(call, tools)
    if invalid is None:
        observation = await world.act(Action(name=call.name, arguments=call.parsed()))
    else:
        observation = Observation(f"error: {invalid}", failed=True)
        await world.refused()
    run.note(reply, observation, invalid, world.earned)
    return observation


def _bounded(reply: Reply) -> Reply:
    """What can be written down, told back and run.

    Half a character can be none of these, and a call can have any length.
    """
    reply = _whole(reply)
    if reply.call is None or len(reply.call.arguments) <= _MAX_CHARS:
        return reply
    too_long = f"a call of {len(reply.call.arguments)} characters; at most {_MAX_CHARS}"
    return replace(reply, call=None, invalid=too_long)


def _whole(reply: Reply) -> Reply:
    call = reply.call
    if call is not None:
        name, arguments = whole_characters(call.name), whole_characters(call.arguments)
        call = call.model_copy(update={"name": name, "arguments": arguments})
    return replace(
        reply,
        thought=whole_characters(reply.thought),
        call=call,
        answer=None if reply.answer is None else whole_characters(reply.answer),
        text=None if reply.text is None else whole_characters(reply.text),
    )


def _outcome(reply: Reply) -> Outcome:
    if reply.cut or reply.call is not None:
        return Outcome.LIMIT
    return Outcome.COMPLETED if reply.answer is not None else Outcome.INVALID


def _call_messages(reply: Reply, call: ToolCall, observation: Observation) -> Iterator[Message]:
    """What a client sends back. Our server knows the thought; another one is told it again."""
    thought = "" if reply.trajectory_id else reply.thought
    text = thought if reply.text is None else reply.text
    yield Message(role="assistant", content=text, tool_calls=(call,))
    yield Message(role="tool", content=observation.text, tool_call_id=call.id)
