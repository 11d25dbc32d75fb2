"""A streamed answer: the events of running choices as chunks, in order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from agentlm.agent.loop import CallEnded, CallStarted, Event
from agentlm.messages import ToolCall
from agentlm.openai_messages import write_call
from agentlm.prompt.grammar import ControlEscaper, Fragment
from agentlm.server.chat.choice import Choice
from agentlm.server.openai.answers import (
    DONE,
    Chunks,
    agent_step,
    approval,
    call_text,
    observation_text,
    reasoning,
)


async def choice_chunks(
    choices: Sequence[Choice], chunks: Chunks, *, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Run all choices and yield their chunks. Closing the generator cancels them.

    Nothing is yielded before one of them has a chunk.
    """
    events = _merged(choices, chunks) if len(choices) > 1 else _chunks(choices[0], chunks)
    async with aclosing(events):
        async for chunk in events:
            yield chunk
    if include_usage:
        yield chunks.usage([choice.transcript.usage() for choice in choices])
    yield DONE


async def exhaust(choice: Choice) -> None:
    """Run a choice without a reader."""
    writer = _DeltaWriter(choice)
    async with aclosing(choice.run()) as events:
        async for event in events:
            if isinstance(event, Fragment) and event.kind == "answer":
                continue
            delta = writer.delta(event) or {}
            choice.reasoning.append(delta.get("reasoning_content", ""))


async def _chunks(choice: Choice, chunks: Chunks) -> AsyncGenerator[bytes, None]:
    """The events of one choice; its `finish_reason` comes after the commit."""
    choice.delivered = 0
    writer = _DeltaWriter(choice)
    async with aclosing(choice.run()) as events:
        async for event in events:
            delta = writer.delta(event)
            if delta is None:
                continue
            if not choice.announced:
                choice.announced = True
                if "tool_calls" in delta:
                    delta = {"role": "assistant", "content": None, **delta}
                else:
                    yield _announcement(choice, chunks)
            logprobs = None
            if delta.get("content") and choice.request.ask.logprobs:
                logprobs = choice.take_logprobs()
            yield chunks.delta(choice.index, delta, logprobs=logprobs)
            choice.delivered += _length(delta)
    for chunk in _last_chunks(choice, chunks):
        yield chunk


def _length(delta: dict[str, Any]) -> int:
    """Number of characters from the model in a delta."""
    texts = [delta.get(name) for name in ("content", "refusal", "reasoning_content")]
    texts += [call["function"].get("arguments") for call in delta.get("tool_calls", ())]
    return sum(len(text or "") for text in texts)


def _announcement(choice: Choice, chunks: Chunks) -> bytes:
    return chunks.delta(choice.index, {"role": "assistant", "content": ""})


def _last_chunks(choice: Choice, chunks: Chunks) -> Iterator[bytes]:
    """The end of a choice. A call for the client comes here as a whole, unless it was streamed
    while it was generated."""
    if not choice.announced:
        yield _announcement(choice, chunks)
    for call in choice.response().tool_calls if not choice.call_streamed else ():
        yield chunks.delta(choice.index, {"tool_calls": [{"index": 0, **write_call(call)}]})
    left = choice.take_logprobs() or None
    ids = {}
    if choice.request.return_token_ids:
        ids = {"prompt_token_ids": choice.prompt_ids(), "token_ids": choice.token_ids()}
    yield chunks.delta(choice.index, {}, choice.transcript.finish_reason, left, **ids)


def stream_end(choice: Choice, chunks: Chunks, *, include_usage: bool) -> bytes:
    """The end of a stream of one choice, once that choice has ended."""
    usage = [chunks.usage([choice.transcript.usage()])] if include_usage else []
    return b"".join([*_last_chunks(choice, chunks), *usage, DONE])


class _DeltaWriter:
    """Turns a run's events into the deltas of a stream."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        own = choice.request.own
        self._own = {spec.name for spec in own.specs()} if own else set()
        self._clients = {spec.name for spec in choice.request.tools} - self._own
        self._server_call = False
        # Without constrained decoding, a call is sent only once it is known to be well-formed.
        self._tells_calls = choice.request.ask.constrained and choice.request.ask.streamed
        self._escaper = ControlEscaper()

    def delta(self, event: Event) -> dict[str, Any] | None:
        """The delta for an event; None: nothing to send."""
        if isinstance(event, Fragment):
            return self._fragment(event)
        if isinstance(event, CallEnded):
            seen = reasoning(observation_text(event.observation.text))
            return seen | {"agent_steps": [agent_step(event)]}
        assert isinstance(event, CallStarted)
        own = self._choice.request.own
        identity = own.approval_id(event.call) if own else None
        return {"approval": approval(identity, event.call)} if identity else None

    def _fragment(self, fragment: Fragment) -> dict[str, Any] | None:
        match fragment.kind:
            case "answer":
                return {"content": fragment.text}
            case "refusal":
                return {"refusal": fragment.text}
            case "thought":
                return reasoning(fragment.text)
            case "call":
                self._server_call = fragment.text in self._own
                if self._server_call:
                    return reasoning(call_text(fragment.text))
                # A name that was cut is no tool's.
                if self._tells_calls and fragment.text in self._clients:
                    self._choice.call_streamed = True
                    call = ToolCall(id=fragment.call_id, name=fragment.text, arguments="")
                    return {"tool_calls": [{"index": 0, **write_call(call)}]}
            case "arguments" if self._server_call:
                return reasoning(fragment.text)
            case "arguments" if self._choice.call_streamed:
                arguments = self._escaper.feed(fragment.text)
                return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}
        return None


async def _merged(choices: Sequence[Choice], chunks: Chunks) -> AsyncGenerator[bytes, None]:
    """The events of several choices as they come."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def pump(choice: Choice) -> None:
        try:
            async with aclosing(_chunks(choice, chunks)) as events:
                async for chunk in events:
                    queue.put_nowait(chunk)
        finally:
            queue.put_nowait(None)

    tasks = [asyncio.ensure_future(pump(choice)) for choice in choices]
    try:
        for _ in tasks:
            while (chunk := await queue.get()) is not None:
                yield chunk
        await asyncio.gather(*tasks)
    finally:
        await cancel_all(tasks)


async def cancel_all(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
