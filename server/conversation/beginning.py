"""Where a request's run begins: in the trajectory that its conversation continues, or afresh.

A request continues from the longest indexed prefix of its messages: the recorded ids are kept as
they are and only later messages are rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

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
    """What a run starts from."""

    steps: tuple[Step, ...]
    """The whole prompt: recorded steps, then those rendered for this request."""
    recorded: int
    """How many of them stand in the log already."""
    trajectory_id: str | None = None
    """The trajectory to extend; None: begin a new one."""
    parent_id: str | None = None
    """The trajectory that a new one goes on from; recorded steps are copied from there."""
    restored: int = 0
    """How many steps the client handed back instead, which the log does not have."""
    restored_key: str | None = None
    """Continuation key of the answer that these end with."""

    @property
    def known(self) -> int:
        """How many steps were there before this request."""
        return self.recorded or self.restored


@dataclass(frozen=True)
class _Found:
    """Steps that a conversation goes on from."""

    steps: Sequence[Step]
    answered: int
    """Index of the last message that they cover."""
    going_on: Callable[[Sequence[Step]], Beginning]
    """The beginning, of the same steps and some more."""


async def begin(
    store: Store, conversation: Conversation, renderer: Renderer, context: int
) -> Beginning:
    """Find where the conversation goes on; `context` is what the model holds, in tokens.

    Raises ContextLengthError if it does not fit.
    """
    messages = conversation.messages
    check_can_answer(messages)
    preamble = describe(conversation.tools, thoughts=renderer.thoughts)
    check_can_fit([preamble, *texts(messages)], renderer, context)
    if renderer.append_only:
        found = await _find(store, conversation)
        if found is not None:
            later = messages[found.answered + 1 :]
            extending = partial(_extended, renderer, found.steps, later)
            extended = await reading(texts(later), extending)
            if extended and _length(extended) < context:
                return found.going_on(extended)
    rendered = partial(render, renderer, messages, preamble)
    steps = await reading([preamble, *texts(messages)], rendered)
    if _length(steps) >= context:
        raise ContextLengthError(_length(steps), context)
    return _anew(conversation, steps)


async def begin_as_text(store: Store, conversation: Conversation, system: str | None) -> Beginning:
    """The same for an upstream: what is recorded and what is added are messages, without ids.

    `system` is the system text of conversations that bring none.
    """
    messages = conversation.messages
    found = await _find(store, conversation)
    if found is not None and all(step.token_ids is None for step in found.steps):
        return found.going_on((*found.steps, *steps_of(messages[found.answered + 1 :])))
    if system and messages[0].role != "system":
        messages = [Message(role="system", content=system), *messages]
    return _anew(conversation, tuple(steps_of(messages)))


def _anew(conversation: Conversation, steps: tuple[Step, ...]) -> Beginning:
    """Nothing recorded is reused; what it goes on from, if it was named, is its parent."""
    after = conversation.after if conversation.kept else None
    return Beginning(steps, recorded=0, parent_id=after.trajectory_id if after else None)


async def _claim_after(
    store: Store, conversation: Conversation, after: Interaction
) -> tuple[Continuation, int] | None:
    """The same by the answer that is named, if what was said and offered up to it is the same."""
    heard = (*after.messages, after.response)
    if tuple(conversation.messages[: len(heard)]) != heard:
        return None
    suits = partial(_suits, conversation)
    found = await store.claim_after(after, suits, take=conversation.take)
    return None if found is None else (found, len(heard) - 1)


def _suits(conversation: Conversation, recorded: Trajectory) -> bool:
    """Whether it was with the same model and the same tools."""
    return (recorded.model, recorded.tools) == (conversation.model, tuple(conversation.tools))


async def _find(store: Store, conversation: Conversation) -> _Found | None:
    """Where it goes on: in the log, or in what its client hands back."""
    claimed = await _claim(store, conversation)
    if claimed is not None:
        continuation, answered = claimed
        steps = continuation.trajectory.steps
        return _Found(steps, answered, partial(_going_on, continuation))
    if not conversation.handed_back:
        return None
    messages = conversation.messages
    for key, index in await reading(texts(messages), partial(_answer_keys, conversation)):
        restored = conversation.handed_back.get(key)
        if restored:
            going_on = partial(_restored, restored=len(restored), key=key)
            return _Found(restored, index, going_on)
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
    found = await store.claim(
        conversation.owner, [key for key, _ in keys], call_id, take=conversation.take
    )
    if found is None:
        return None
    if not _suits(conversation, found.trajectory):
        return None
    return found, keys[0][1] if found.key_index is None else keys[found.key_index][1]


def _answer_keys(conversation: Conversation) -> list[tuple[str, int]]:
    """The key of each answer among the messages with its index, the last one first."""
    keys = [*enumerate(conversation_keys(conversation))]
    messages = conversation.messages
    return [(key, index) for index, key in reversed(keys) if messages[index].role == "assistant"]


def _extended(
    renderer: Renderer, before: Sequence[Step], messages: Sequence[Message]
) -> list[Step] | None:
    """The steps with what was said since; None if they can't be gone on from."""
    turns = [turn_of(message) for message in messages]
    steps = list(before)
    last = steps[-1]
    if turns[0].role != "user" or last.token_ids is None or _foreign(steps, renderer):
        return None
    if last.token_ids[-1] != renderer.end_of_turn_id:
        steps.append(renderer.end_turn())
    steps += renderer.extend(turns, steps)
    return steps


def _going_on(found: Continuation, steps: Sequence[Step]) -> Beginning:
    """`steps` begin with those that were found."""
    identity = found.trajectory.id
    return Beginning(
        tuple(steps),
        recorded=found.step,
        trajectory_id=None if found.fork else identity,
        parent_id=identity if found.fork else None,
    )


def _foreign(steps: Sequence[Step], renderer: Renderer) -> bool:
    """Whether the recorded ids are those of another tokenizer or template, or set otherwise."""
    other = [step.tokenizer_digest != renderer.digest for step in steps]
    return any(other) or template_settings(steps) != renderer.settings


def check_can_answer(messages: Sequence[Message]) -> None:
    """Raises RequestError if the model itself has spoken last."""
    if messages[-1].role == "assistant":
        raise RequestError(
            "the last message can't be the assistant's: there is nothing to answer",
            param=f"messages[{len(messages) - 1}].role",
        )


def texts(messages: Iterable[Message]) -> Iterator[str]:
    """All that is written in messages, however long."""
    for message in messages:
        yield message.content
        yield from (call.arguments for call in message.tool_calls)


def render(renderer: Renderer, messages: Sequence[Message], preamble: str) -> tuple[Step, ...]:
    """The whole prompt of a conversation that nothing recorded leads to.

    `preamble` is the grammar's description of the tools. The last message is the one to answer,
    even if it is the system's.
    """
    leading = 0
    while leading < len(messages) - 1 and messages[leading].role == "system":
        leading += 1
    system = "\n\n".join(message.content for message in messages[:leading])
    turns = [turn_of(message) for message in messages[leading:]]
    return tuple(renderer.open(turns, system=system or None, preamble=preamble))


def turn_of(message: Message) -> Turn:
    """A message as the model reads it; system text amid a conversation is the user's to say."""
    if message.role == "assistant":
        return Turn("assistant", write(message))
    if message.role == "tool":
        return Turn("user", observe(message.content), message.tool_call_id)
    return Turn("user", message.content)


def _length(steps: Sequence[Step]) -> int:
    return sum(len(step.token_ids or ()) for step in steps)
