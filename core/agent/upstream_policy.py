"""The policy that asks an upstream: one turn of a model that another server runs, in messages.

Such a server reports no token ids, so its steps have none. What it thought, called and answered is
recorded in the canonical grammar, like imported text, and can be trained on as such.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agentlm.agent.ask import Ask
from agentlm.agent.tool import Observation
from agentlm.agent.transcript import Transcript
from agentlm.agent.upstream import CallDelta, ChatDelta, Chunk, ChunkUsage, Upstream
from agentlm.errors import UnavailableError
from agentlm.messages import Message, ToolCall, new_call_id
from agentlm.openai_messages import write_message, write_tool, write_tool_choice
from agentlm.prompt.grammar import Fragment, FragmentKind, read_arguments, write, write_answer
from agentlm.prompt.observation import observe, observed
from agentlm.trajectory import Origin, Step

_TOKEN_BOUNDS = ("max_tokens", "max_completion_tokens")
"""An upstream knows one of these names or both. It gets the one that the client used."""
_READ_HERE = {"top_logprobs", "max_tokens"}
_CHARS_A_TOKEN = 4
_ANY_LENGTH = 1 << 30
"""Stands for the room in a context whose length nobody has stated."""


@dataclass
class UpstreamPolicy:
    """Writes turns with an upstream; see `policy.Policy`."""

    upstream: Upstream
    ask: Ask
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the request, passed on unchanged."""
    context: int | None = None
    """Tokens that fit into the upstream's context. None: the upstream checks that itself."""
    _answer_now: bool = False
    _spoke: bool = False
    """A turn of this run had text for the client, perhaps before a call: upstreams say only at the
    end of a turn which text is the answer."""
    _in_context: int = 0
    """Tokens of the last turn, including its prompt."""
    _own_tokens: int = 0
    """Tokens of this run's turns that are part of the next turn's prompt."""

    def room(self, transcript: Transcript) -> int:
        return _ANY_LENGTH if self.context is None else self.context - self._in_context

    def observe(
        self, transcript: Transcript, call: ToolCall, observation: Observation, max_tokens: int
    ) -> Observation:
        """Four characters are counted as one token."""
        text = _shortened(observation.text, max(1, max_tokens) * _CHARS_A_TOKEN)
        step = _prompt(Message(role="tool", content=text, tool_call_id=call.id))
        update = {"failed": observation.failed, "seconds": observation.seconds}
        transcript.add(step.model_copy(update=update))
        return replace(observation, text=text)

    def force_answer(self, transcript: Transcript) -> None:
        """The next turn may call nothing."""
        self._answer_now = True

    async def next(
        self, transcript: Transcript, *, max_tokens: int, first: bool
    ) -> AsyncGenerator[Fragment, None]:
        turn = _Turn(self.upstream.model, time.time())
        chunks = self.upstream.chat(self._body(transcript, max_tokens, first=first))
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    for fragment in turn.add(chunk):
                        if fragment.kind == "answer" and len(turn.content) == 1 and self._spoke:
                            yield Fragment("answer", "\n\n")
                        yield fragment
            if turn.finish_reason is None:
                raise UnavailableError("the upstream ended its answer in the middle")
        finally:
            self._note(transcript, turn)

    def _body(self, transcript: Transcript, max_tokens: int, *, first: bool) -> dict[str, Any]:
        # Send only the fields that are needed: not every upstream knows every field.
        sampling = self.ask.sampling.model_dump(exclude_unset=True, exclude=_READ_HERE)
        bounds = {name: max_tokens for name in _TOKEN_BOUNDS if name in self.fields}
        messages = list(messages_of(transcript.steps))
        body = {**self.fields, **sampling, **bounds, "messages": messages}
        if self.ask.tools:
            body["tools"] = [write_tool(spec) for spec in self.ask.tools]
            body["tool_choice"] = self._choice(first=first)
            body["parallel_tool_calls"] = False
        return body

    def _choice(self, *, first: bool) -> Any:
        if self._answer_now:
            return "none"
        choice = self.ask.choice if first else "auto"
        named = choice if isinstance(choice, frozenset) else self.ask.allowed
        mode = "required" if isinstance(choice, frozenset) else choice
        if named is None:
            return mode
        tools = [write_tool_choice(name) for name in sorted(named)]
        if mode == "required" and len(tools) == 1:
            return tools[0]
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}

    def _note(self, transcript: Transcript, turn: _Turn) -> None:
        """Put the turn into the transcript, whether it is finished or not."""
        self._spoke = self._spoke or bool(turn.content)
        self._count(transcript, turn)
        if turn.finish_reason is not None or turn.deltas:
            transcript.add(turn.step(self.ask))

    def _count(self, transcript: Transcript, turn: _Turn) -> None:
        """Usage as the upstream reports it. If it reports none, each delta counts as one token."""
        usage = turn.usage or ChunkUsage(completion_tokens=turn.deltas)
        thought = (
            usage.completion_tokens_details and usage.completion_tokens_details.reasoning_tokens
        )
        cached = usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens
        if transcript.prompt_tokens is None:
            transcript.cached_tokens = cached or 0
        transcript.prompt_tokens = max(
            transcript.prompt_tokens or 0, usage.prompt_tokens - self._own_tokens
        )
        transcript.sampled_tokens += usage.completion_tokens
        transcript.reasoning_tokens += thought or 0
        self._own_tokens += usage.completion_tokens - (thought or 0)
        self._in_context = usage.prompt_tokens + usage.completion_tokens


@dataclass
class _Turn:
    """What the upstream has sent of the turn so far."""

    model: str
    """The upstream's name for it, often with a date."""
    started: float
    """Unix seconds. Durations are measured from `began`, which is monotonic."""
    began: float = field(default_factory=time.monotonic)
    reasoning: list[str] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    name: str | None = None
    arguments: list[str] = field(default_factory=list)
    deltas: int = 0
    finish_reason: str | None = None
    usage: ChunkUsage | None = None
    call_id: str = field(default_factory=new_call_id)
    """Our own id: the upstream's need not be unique in our log."""
    _call: int | None = None
    """Index of the one call that is read. Other calls of the same turn are ignored."""

    def add(self, chunk: Chunk) -> Iterator[Fragment]:
        self.model = chunk.model or self.model
        self.usage = chunk.usage or self.usage
        for choice in chunk.choices[:1]:
            self.finish_reason = choice.finish_reason or self.finish_reason
            yield from self._add_delta(choice.delta)

    def _add_delta(self, delta: ChatDelta) -> Iterator[Fragment]:
        if thought := delta.reasoning_content or delta.reasoning:
            yield self._fragment("thought", self.reasoning, thought)
        if delta.content:
            yield self._fragment("answer", self.content, delta.content)
        if delta.refusal:
            yield self._fragment("refusal", self.content, delta.refusal)
        for call in delta.tool_calls or ():
            yield from self._add_call(call)

    def _add_call(self, call: CallDelta) -> Iterator[Fragment]:
        index = call.index or 0
        if self._call is None and call.function.name:
            self._call, self.name = index, call.function.name
            self.deltas += 1
            yield Fragment("call", self.name, self.call_id)
        if index == self._call and call.function.arguments:
            yield self._fragment("arguments", self.arguments, call.function.arguments)

    def _fragment(self, kind: FragmentKind, parts: list[str], text: str) -> Fragment:
        self.deltas += 1
        parts.append(text)
        return Fragment(kind, text)

    def step(self, ask: Ask) -> Step:
        thought, call, answer, error = self._parsed()
        return Step(
            role="assistant",
            origin=Origin.SAMPLED,
            text=self._text(thought, call, in_form=bool(ask.tools)),
            token_ids=None,
            thought=thought,
            call=call,
            answer=answer,
            error=error,
            finish_reason=self._finish(),
            sampling=ask.sampling,
            weights_version=self.model,
            started=self.started,
            seconds=time.monotonic() - self.began,
        )

    def _parsed(self) -> tuple[str | None, ToolCall | None, str | None, str | None]:
        """Thought, call, answer, and the error in them."""
        reasoning, content = "".join(self.reasoning), "".join(self.content)
        if self.finish_reason is None:
            return reasoning or None, None, None, None
        filtered = "content_filter" if self.finish_reason == "content_filter" else None
        if self.name is None or filtered:
            return reasoning or None, None, content, filtered
        thought = "\n".join(filter(None, (reasoning.strip(), content.strip())))
        arguments, error = read_arguments("".join(self.arguments) or "{}")
        call = ToolCall(id=self.call_id, name=self.name, arguments=arguments)
        return thought or None, call, None, error

    def _text(self, thought: str | None, call: ToolCall | None, *, in_form: bool) -> str:
        if call is not None:
            message = Message(role="assistant", content=thought or "", tool_calls=(call,))
            return write(message)
        content = "".join(self.content)
        return write_answer(content, thought) if in_form else content

    def _finish(self) -> Literal["stop", "length", "content_filter", "cancelled"]:
        match self.finish_reason:
            case None:
                return "cancelled"
            case "length" | "content_filter" as reason:
                return reason
        return "stop"


# -- between messages and steps ------------------------------------------------------------------


def steps_of(messages: Iterable[Message]) -> Iterator[Step]:
    """A client's messages as steps without ids."""
    for message in messages:
        if message.role != "assistant":
            yield _prompt(message)
        elif not message.tool_calls:
            yield _imported(message.content, answer=message.content)
        else:
            for index, call in enumerate(message.tool_calls):
                content = "" if index else message.content
                call_message = Message(role="assistant", content=content, tool_calls=(call,))
                yield _imported(write(call_message), call=call, thought=content or None)


def messages_of(steps: Sequence[Step]) -> Iterator[dict[str, Any]]:
    """Steps without ids as messages for an upstream. Consecutive calls become one message."""
    last: dict[str, Any] = {}
    for step in steps:
        message = write_message(_message(step))
        if "tool_calls" in last and "tool_calls" in message:
            last["tool_calls"] += message["tool_calls"]
            continue
        if last:
            yield last
        last = message
    if last:
        yield last


def _prompt(message: Message) -> Step:
    text = observe(message.content) if message.role == "tool" else message.content
    return Step(
        role=message.role,
        origin=Origin.PROMPT,
        text=text,
        token_ids=None,
        tool_call_id=message.tool_call_id,
    )


def _imported(text: str, **parsed: Any) -> Step:
    return Step(role="assistant", origin=Origin.IMPORTED, text=text, token_ids=None, **parsed)


def _message(step: Step) -> Message:
    if step.role == "tool":
        return Message(role="tool", content=observed(step.text), tool_call_id=step.tool_call_id)
    if step.call is None:
        return Message(role=step.role, content=step.text if step.answer is None else step.answer)
    return Message(role="assistant", content=step.thought or "", tool_calls=(step.call,))


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head, tail = limit - limit // 3, limit // 3
    return f"{text[:head]}\n… [{len(text) - limit} characters left out] …\n{text[-tail:]}"
