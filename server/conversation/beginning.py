"""Where a request's run begins: in the trajectory that its conversation continues, or anew.

A request continues from the longest indexed prefix of its messages: the recorded ids are kept
unchanged, and only later messages are rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from agentlm.agent.loop import Limits
from agentlm.agent.upstream_policy import steps_of
from agentlm.errors import ContextLengthError, RequestError
from agentlm.messages import Message
from agentlm.prompt.grammar import write
from agentlm.prompt.observation import observe
from agentlm.prompt.preamble import describe
from agentlm.prompt.render import Renderer, Turn
from agentlm.server.conversation.keys import Conversation, conversation_keys
from agentlm.server.conversation.long_text import check_can_fit, reading
from agentlm.store import Continuation, Store
from agentlm.trajectory import Interaction, Step, Trajectory, template_settings


@dataclass(frozen=True)
class Beginning:
    steps: tuple[Step, ...]
    """The whole prompt: recorded steps, then steps rendered for this request."""
    recorded: int
    """How many of the steps are in the log already."""
    trajectory_id: str | None = None
    """The trajectory to extend; None: begin a new one."""
    parent_id: str | None = None
    """The trajectory that a new one continues. Recorded steps are copied from it."""
    restored: int = 0
    """How many steps the client sent back instead, because the log does not have them."""
    restored_key: str | None = None
    """Continuation key of the answer at the end of those steps."""

    @property
    def known(self) -> int:
        """How many steps existed before this request."""
        return self.recorded or self.restored


@dataclass(frozen=True)
class _KnownSteps:
    """Steps that a conversation goes on from."""

    steps: Sequence[Step]
    answered: int
    """Index of the last message that they cover."""
    going_on: Callable[[Sequence[Step]], Beginning]
    """Makes the beginning from the same steps and some more."""


async def begin(
    store: Store, conversation: Conversation, renderer: Renderer, context: int
) -> Beginning:
    """Find where the conversation goes on. `context` is the model's context length in tokens.

    Raises ContextLengthError if it does not fit, also when it may be shortened.
    """
    check_can_answer(conversation.messages)
    preamble = describe(conversation.tools, thoughts=renderer.thoughts)
    try:
        return await _begin_whole(store, conversation, renderer, preamble, context)
    except ContextLengthError:
        work = partial(shortened, renderer, conversation.messages, preamble, context)
        steps = None
        if conversation.may_be_shortened:
            steps = await reading(texts(conversation.messages), work)
        if steps is None:
            raise
    known = await _find(store, replace(conversation, take=False))
    before = known.going_on(known.steps).parent_id if known else None
    anew = _anew(conversation, steps)
    return replace(anew, parent_id=anew.parent_id or before)


async def _begin_whole(
    store: Store, conversation: Conversation, renderer: Renderer, preamble: str, context: int
) -> Beginning:
    messages = conversation.messages
    check_can_fit([preamble, *texts(messages)], renderer, context)
    if renderer.append_only:
        known_steps = await _find(store, conversation)
        if known_steps is not None:
            later = messages[known_steps.answered + 1 :]
            extending = partial(_extended, renderer, known_steps.steps, later)
            extended = await reading(texts(later), extending)
            if extended and _length(extended) < context:
                return known_steps.going_on(extended)
    rendered = partial(render, renderer, messages, preamble)
    steps = await reading([preamble, *texts(messages)], rendered)
    if _length(steps) >= context:
        raise ContextLengthError(_length(steps), context)
    return _anew(conversation, steps)


async def begin_as_text(store: Store, conversation: Conversation, system: str | None) -> Beginning:
    """The same for an upstream: recorded and new parts are messages, without ids.

    `system` is the system text for conversations without one. Raises RequestError if the
    conversation may be shortened: the context length of an upstream is not known here.
    """
    if conversation.may_be_shortened:
        raise RequestError(
            "truncation 'auto' needs a model that runs here: another's context is its own",
            param="truncation",
        )
    messages = conversation.messages
    known_steps = await _find(store, conversation)
    if known_steps is not None and all(step.token_ids is None for step in known_steps.steps):
        return known_steps.going_on(
            (*known_steps.steps, *steps_of(messages[known_steps.answered + 1 :]))
        )
    if system and messages[0].role != "system":
        messages = [Message(role="system", content=system), *messages]
    return _anew(conversation, tuple(steps_of(messages)))


def _anew(conversation: Conversation, steps: tuple[Step, ...]) -> Beginning:
    """Reuse nothing that is recorded. If the request names an answer, that is its parent."""
    after = conversation.after if conversation.kept else None
    return Beginning(steps, recorded=0, parent_id=after.trajectory_id if after else None)


async def _claim_after(
    store: Store, conversation: Conversation, after: Interaction
) -> tuple[Continuation, int] | None:
    """The place after the answer that is named, if messages and tools up to there are the same."""
    heard = (*after.messages, after.response)
    if tuple(conversation.messages[: len(heard)]) != heard:
        return None
    suits = partial(_suits, conversation)
    continuation = await store.claim_after(after, suits, take=conversation.take)
    return None if continuation is None else (continuation, len(heard) - 1)


def _suits(conversation: Conversation, recorded: Trajectory) -> bool:
    """Whether the model and the tools were the same."""
    return (recorded.model, recorded.tools) == (conversation.model, tuple(conversation.tools))


async def _find(store: Store, conversation: Conversation) -> _KnownSteps | None:
    """Where it goes on: in the log, or in what its client sends back."""
    claimed = await _claim(store, conversation)
    if claimed is not None:
        continuation, answered = claimed
        steps = continuation.trajectory.steps
        return _KnownSteps(steps, answered, partial(_going_on, continuation))
    if not conversation.handed_back:
        return None
    messages = conversation.messages
    for key, index in await reading(texts(messages), partial(_answer_keys, conversation)):
        restored = conversation.handed_back.get(key)
        if restored:
            going_on = partial(_restored, restored=len(restored), key=key)
            return _KnownSteps(restored, index, going_on)
    return None


def _restored(steps: Sequence[Step], *, restored: int, key: str) -> Beginning:
    return Beginning(tuple(steps), recorded=0, restored=restored, restored_key=key)


async def _claim(store: Store, conversation: Conversation) -> tuple[Continuation, int] | None:
    """The recorded prefix, and the index of the last message that it covers."""
    if not conversation.kept:
        return None
    if conversation.after is not None:
        return await _claim_after(store, conversation, conversation.after)
    messages = conversation.messages
    keys = await reading(texts(messages), partial(_answer_keys, conversation))
    if not keys:
        return None
    last = messages[keys[0][1]]
    call_id = last.tool_calls[-1].id if last.tool_calls else None
    continuation = await store.claim(
        conversation.owner, [key for key, _ in keys], call_id, take=conversation.take
    )
    if continuation is None:
        return None
    if not _suits(conversation, continuation.trajectory):
        return None
    return continuation, keys[0][1] if continuation.key_index is None else keys[
        continuation.key_index
    ][1]


def _answer_keys(conversation: Conversation) -> list[tuple[str, int]]:
    """The key of each answer among the messages, with its index, the last one first."""
    keys = [*enumerate(conversation_keys(conversation))]
    messages = conversation.messages
    return [(key, index) for index, key in reversed(keys) if messages[index].role == "assistant"]


def _extended(
    renderer: Renderer, before: Sequence[Step], messages: Sequence[Message]
) -> list[Step] | None:
    """The steps with those of later messages; None if they can't be continued."""
    turns = [turn_of(message) for message in messages]
    steps = list(before)
    last = steps[-1]
    if turns[0].role != "user" or last.token_ids is None or _foreign(steps, renderer):
        return None
    if last.token_ids[-1] != renderer.end_of_turn_id:
        steps.append(renderer.end_turn())
    steps += renderer.extend(turns, steps)
    return steps


def _going_on(continuation: Continuation, steps: Sequence[Step]) -> Beginning:
    """The beginning from `steps`, which start with the recorded ones."""
    identity = continuation.trajectory.id
    return Beginning(
        tuple(steps),
        recorded=continuation.step,
        trajectory_id=None if continuation.fork else identity,
        parent_id=identity if continuation.fork else None,
    )


def _foreign(steps: Sequence[Step], renderer: Renderer) -> bool:
    """Whether the ids are from another tokenizer or template, or from other template settings."""
    other = [step.tokenizer_digest != renderer.digest for step in steps]
    return any(other) or template_settings(steps) != renderer.settings


def check_can_answer(messages: Sequence[Message]) -> None:
    """Raises RequestError if the last message is the model's own."""
    if messages[-1].role == "assistant":
        raise RequestError(
            "the last message can't be the assistant's: there is nothing to answer",
            param=f"messages[{len(messages) - 1}].role",
        )


def texts(messages: Iterable[Message]) -> Iterator[str]:
    for message in messages:
        yield message.content
        yield from (call.arguments for call in message.tool_calls)


def render(renderer: Renderer, messages: Sequence[Message], preamble: str) -> tuple[Step, ...]:
    """The whole prompt of a conversation without a recorded beginning.

    `preamble` is the grammar's description of the tools. The last message is the one to answer,
    even if it is the system's.
    """
    leading = _leading(messages)
    system = "\n\n".join(message.content for message in messages[:leading])
    turns = [turn_of(message) for message in messages[leading:]]
    return tuple(renderer.open(turns, system=system or None, preamble=preamble))


def shortened(
    renderer: Renderer, messages: Sequence[Message], preamble: str, context: int
) -> tuple[Step, ...] | None:
    """The prompt without the oldest messages, leaving out as few as possible.

    System text at the beginning stays, results are left out with their calls, and there is room
    for an answer. None if not even the last message fits.
    """
    leading = _leading(messages)
    starts = [at for at in range(leading + 1, len(messages)) if messages[at].role != "tool"]
    room = context - Limits().answer_tokens
    fitting: tuple[Step, ...] | None = None
    while starts:
        middle = len(starts) // 2
        steps = _within(
            renderer, [*messages[:leading], *messages[starts[middle] :]], preamble, room
        )
        fitting = steps or fitting
        starts = starts[:middle] if steps else starts[middle + 1 :]
    return fitting


def _within(
    renderer: Renderer, messages: Sequence[Message], preamble: str, room: int
) -> tuple[Step, ...] | None:
    try:
        check_can_fit([preamble, *texts(messages)], renderer, room)
    except ContextLengthError:
        return None
    steps = render(renderer, messages, preamble)
    return steps if _length(steps) < room else None


def _leading(messages: Sequence[Message]) -> int:
    """Number of system messages at the beginning. The last message is always one to answer."""
    leading = 0
    while leading < len(messages) - 1 and messages[leading].role == "system":
        leading += 1
    return leading


def turn_of(message: Message) -> Turn:
    """A message as the model reads it. System text within a conversation becomes the user's."""
    if message.role == "assistant":
        return Turn("assistant", write(message))
    if message.role == "tool":
        return Turn("user", observe(message.content), message.tool_call_id)
    return Turn("user", message.content)


def _length(steps: Sequence[Step]) -> int:
    return sum(len(step.token_ids or ()) for step in steps)
