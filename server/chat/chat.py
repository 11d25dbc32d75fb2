"""Answering a chat request: whole, or as a stream of server-sent events.

A choice is *answered* when the client gets its `finish_reason`; the commit comes before that. A
client that goes away cancels generation and tools, and the partial trajectory is kept.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from agentlm.agent.ask import Ask, ToolChoice
from agentlm.agent.loop import CallEnded, CallStarted, Event, Limits
from agentlm.agent.tool import Tools
from agentlm.errors import RequestError, UnavailableError
from agentlm.openai_messages import write_call
from agentlm.prompt.grammar import Fragment
from agentlm.server.callers import allowed_families
from agentlm.server.chat.choice import Choice, Request
from agentlm.server.chat.conversation import Beginning, begin, begin_as_text
from agentlm.server.metrics import Metrics
from agentlm.server.models.served import AnyServed, ServedModels, ServedUpstream
from agentlm.server.openai import answers as wire
from agentlm.server.openai.chat_request import (
    ChatRequest,
    NamedToolChoice,
    client_tools,
    server_families,
)
from agentlm.server.settings import ServeSettings
from agentlm.store import ApiKey, Store
from agentlm.tools.toolbox import Toolbox
from agentlm.trajectory import Outcome

log = logging.getLogger("agentlm.server")


@dataclass
class Chat:
    """What answering needs; one for the life of the server."""

    settings: ServeSettings
    models: ServedModels
    store: Store
    toolbox: Toolbox
    metrics: Metrics
    background: set[asyncio.Task[None]] = field(default_factory=set)
    """Commits of cancelled runs that are still under way; shutdown waits for them."""

    async def prepare(self, body: ChatRequest, caller: ApiKey) -> list[Choice]:
        """Read a request and find where its choices begin. Raises RequestError.

        Raises UnavailableError while the log fails: nothing is generated that can't be answered.
        """
        request = self._read(body, caller)
        await self.store.ready()
        choices = []
        for index in range(body.n):
            beginning = await self._begin(request)
            choice = Choice(request, index, self.models, self.store, self.metrics, beginning)
            choices.append(choice)
        return choices

    async def _begin(self, request: Request) -> Beginning:
        served = request.served
        asked = (request.owner, request.messages, request.tools)
        if isinstance(served, ServedUpstream):
            return await begin_as_text(self.store, served, *asked)
        return await begin(self.store, served, *asked, self.models.engine.max_model_len)

    def _read(self, body: ChatRequest, caller: ApiKey) -> Request:
        served, agent = self.models.find(body.model)
        _check_logprobs(body, served)
        if not isinstance(served, ServedUpstream):
            body.check_schemas()
        offered = allowed_families(caller, self.toolbox.families())
        families = offered if agent else server_families(body.tools)
        _check_families(body, offered)
        own = self.toolbox.for_request(families, owner=caller.name) if families else None
        client = client_tools(body.tools)
        _check_names(body, own)
        tools = (*(own.specs() if own else ()), *client)
        if body.n > 1 and own:
            raise RequestError(
                "n must be 1 when the server runs tools: their side effects would double", param="n"
            )
        return Request(
            completion_id=f"chatcmpl-{uuid.uuid4().hex}",
            owner=caller.name,
            created=time.time(),
            served=served,
            messages=body.read_messages(),
            tools=() if body.tool_choice == "none" else tools,
            own=None if body.tool_choice == "none" else own,
            ask=self._ask(body, tools),
            limits=self._limits(body, served),
            metadata=body.metadata or {},
            user=body.user,
            stored=body.store is True,
            keep=body.store is not False and caller.log == "full",
            may_train=caller.may_train,
            upstream_fields=body.for_upstream() if isinstance(served, ServedUpstream) else {},
        )

    def _ask(self, body: ChatRequest, tools: Sequence[Any]) -> Ask:
        choice = _tool_choice(body, [tool.name for tool in tools])
        schema = body.response_format.schema_of_answer() if body.response_format else None
        return Ask(
            sampling=body.sampling(),
            tools=() if choice == "none" else tuple(tools),
            choice=choice,
            answer_schema=schema,
            constrained=body.constrained,
            # The rest of a turn's tokens is for its thought, even at a character a token.
            max_string_chars=self.settings.max_turn_tokens * 3 // 4,
            logprobs=bool(body.logprobs),
            streamed=body.stream,
        )

    def _limits(self, body: ChatRequest, served: AnyServed) -> Limits:
        # What a small model loops in, an upstream's ends by itself.
        endless = isinstance(served, ServedUpstream)
        return Limits(
            turns=self.settings.max_turns,
            tokens=body.sampling().max_tokens,
            turn_tokens=sys.maxsize if endless else self.settings.max_turn_tokens,
            observation_tokens=self.settings.observation_tokens,
        )

    async def run(self, choices: Sequence[Choice]) -> None:
        """Run all choices to their end; however they end, they are in the log then."""
        tasks = [asyncio.ensure_future(_exhaust(choice)) for choice in choices]
        try:
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            self._keep_in_background(choices)
            raise
        except Exception:
            await _cancel(tasks)
            await self._keep(choices)
            raise

    async def stream(
        self, choices: Sequence[Choice], chunks: wire.Chunks, *, include_usage: bool
    ) -> AsyncGenerator[bytes, None]:
        """Run all choices and yield them as `chunks`; closing the generator cancels them.

        Nothing is yielded before one of them has something to tell.
        """
        try:
            events = _merged(choices, chunks) if len(choices) > 1 else _chunks(choices[0], chunks)
            async with aclosing(events):
                async for chunk in events:
                    yield chunk
            if include_usage:
                yield chunks.usage([choice.transcript.usage() for choice in choices])
            yield wire.DONE
        except Exception:
            await self._keep(choices)
            raise
        except BaseException:
            self._keep_in_background(choices)
            raise

    async def _keep(self, choices: Sequence[Choice]) -> None:
        """Record what an interrupted request got done, as far as the log takes it."""
        for choice in choices:
            if choice.transcript.finish_reason is None:
                if choice.transcript.outcome is Outcome.RUNNING:
                    choice.transcript.end(Outcome.CANCELLED, None)
                try:
                    await choice.record()
                except UnavailableError as error:
                    self.metrics.losses.inc()
                    log.error("how %s ended is not in the log: %s", choice.trajectory.id, error)

    def _keep_in_background(self, choices: Sequence[Choice]) -> None:
        # The task that was cancelled can't await any more.
        task = asyncio.create_task(self._keep(choices))
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def drain(self) -> None:
        """Wait until what was interrupted is in the log."""
        await asyncio.gather(*self.background, return_exceptions=True)


async def _exhaust(choice: Choice) -> None:
    writer = _DeltaWriter(choice)
    async with aclosing(choice.run()) as events:
        async for event in events:
            if isinstance(event, Fragment) and event.kind == "answer":
                continue
            delta = writer.delta(event) or {}
            choice.reasoning.append(delta.get("reasoning_content", ""))


async def _chunks(choice: Choice, chunks: wire.Chunks) -> AsyncGenerator[bytes, None]:
    """The events of one choice, its `finish_reason` after the commit."""
    choice.delivered = 0
    writer = _DeltaWriter(choice)
    async with aclosing(choice.run()) as events:
        async for event in events:
            delta = writer.delta(event)
            if delta is None:
                continue
            if not choice.announced:
                choice.announced = True
                yield _announcement(choice, chunks)
            shown = None
            if "content" in delta and choice.request.ask.logprobs:
                shown = wire.logprobs(choice)
            yield chunks.delta(choice.index, delta, logprobs=shown)
            told = map(delta.get, ("content", "refusal", "reasoning_content"))
            choice.delivered += sum(len(text or "") for text in told)
    for chunk in _last_chunks(choice, chunks):
        yield chunk


def _announcement(choice: Choice, chunks: wire.Chunks) -> bytes:
    return chunks.delta(choice.index, {"role": "assistant", "content": ""})


def _last_chunks(choice: Choice, chunks: wire.Chunks) -> Iterator[bytes]:
    """What a choice ends with: a call that the client has to run comes whole, when it is known to
    be well-formed."""
    if not choice.announced:
        yield _announcement(choice, chunks)
    for index, call in enumerate(choice.response().tool_calls):
        told = {"tool_calls": [{"index": index, **write_call(call)}]}
        yield chunks.delta(choice.index, told)
    left = wire.logprobs(choice) or None
    yield chunks.delta(choice.index, {}, choice.transcript.finish_reason, left)


def stream_end(choice: Choice, chunks: wire.Chunks, *, include_usage: bool) -> bytes:
    """What follows on a stream of one choice once that has ended."""
    usage = [chunks.usage([choice.transcript.usage()])] if include_usage else []
    return b"".join([*_last_chunks(choice, chunks), *usage, wire.DONE])


class _DeltaWriter:
    """Turns a run's events into the deltas of a stream."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        own = choice.request.own
        self._own = {spec.name for spec in own.specs()} if own else set()
        self._server_call = False

    def delta(self, event: Event) -> dict[str, Any] | None:
        """What the client is told of an event now; None: nothing."""
        if isinstance(event, Fragment):
            return self._fragment(event)
        if isinstance(event, CallEnded):
            return {
                "reasoning_content": wire.observation_text(event.observation.text),
                "agent_steps": [wire.agent_step(event)],
            }
        assert isinstance(event, CallStarted)
        own = self._choice.request.own
        identity = own.approval_id(event.call) if own else None
        return {"approval": wire.approval(identity, event.call)} if identity else None

    def _fragment(self, fragment: Fragment) -> dict[str, Any] | None:
        match fragment.kind:
            case "answer":
                return {"content": fragment.text}
            case "refusal":
                return {"refusal": fragment.text}
            case "thought":
                return {"reasoning_content": fragment.text}
            case "call":
                self._server_call = fragment.text in self._own
                if self._server_call:
                    return {"reasoning_content": wire.call_text(fragment.text)}
            case "arguments" if self._server_call:
                return {"reasoning_content": fragment.text}
        return None


async def _merged(choices: Sequence[Choice], chunks: wire.Chunks) -> AsyncGenerator[bytes, None]:
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
        await _cancel(tasks)


async def _cancel(tasks: Sequence[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _check_logprobs(body: ChatRequest, served: AnyServed) -> None:
    if body.logprobs and isinstance(served, ServedUpstream):
        raise RequestError(
            f"{served.name!r} runs on another server, which does not tell its tokens",
            param="logprobs",
        )


def _check_families(body: ChatRequest, known: Sequence[str]) -> None:
    for index, tool in enumerate(body.tools or ()):
        if tool.type != "function" and tool.type not in known:
            raise RequestError(
                f"unknown tool type {tool.type!r}; known: function, {', '.join(known)}",
                param=f"tools[{index}].type",
            )


def _check_names(body: ChatRequest, own: Tools | None) -> None:
    taken = {spec.name for spec in own.specs()} if own else set()
    for index, tool in enumerate(body.tools or ()):
        if tool.function is not None and tool.function.name in taken:
            raise RequestError(
                f"{tool.function.name!r} is a tool of the server in this request; rename yours",
                param=f"tools[{index}].function.name",
            )


def _tool_choice(body: ChatRequest, names: Sequence[str]) -> ToolChoice | str:
    choice = body.tool_choice or "auto"
    if not isinstance(choice, NamedToolChoice):
        if choice == "required" and not names:
            raise RequestError("tool_choice 'required' needs tools", param="tool_choice")
        return choice
    if choice.function.name not in names:
        raise RequestError(
            f"tool_choice names {choice.function.name!r}, which is not among the tools",
            param="tool_choice.function.name",
        )
    return choice.function.name
