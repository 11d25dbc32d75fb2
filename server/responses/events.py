"""A response while it is generated: its events, in the specification's order.

Each item is added, told in parts and done before the next one begins. The last event says how it
ended, and comes after the commit.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import cached_property
from typing import Any

from agentlm.agent.loop import CallEnded, CallStarted, Event
from agentlm.messages import Message, ToolCall
from agentlm.prompt.grammar import ControlEscaper, Fragment
from agentlm.server.chat.choice import Choice
from agentlm.server.http.errors import error_body
from agentlm.server.openai.answers import DONE
from agentlm.server.responses.items import call_item, message_item, reasoning_item, text_part
from agentlm.server.responses.output import (
    ServerCall,
    answer,
    failure,
    head,
    item_id,
    suffix,
)


async def response_events(choice: Choice, writer: EventWriter) -> AsyncGenerator[bytes, None]:
    """Run a choice and tell it; closing the generator cancels it.

    Nothing is yielded before it has something to tell: what fails before then has its own status.
    What fails later is the last event.
    """
    choice.delivered = 0
    async with aclosing(choice.run()) as events:
        async for event in events:
            if not choice.announced:
                choice.announced = True
                yield writer.beginning()
            told = b"".join(writer.tell(event))
            if told:
                yield told
            if isinstance(event, Fragment):
                choice.delivered += len(event.text)
    if not choice.announced:
        yield writer.beginning()
    yield writer.end


async def with_failure(
    events: AsyncGenerator[bytes, None], writer: EventWriter
) -> AsyncGenerator[bytes, None]:
    """Pass events on; what fails once they have begun is told as the last of them."""
    begun = False
    try:
        async with aclosing(events) as source:
            async for event in source:
                begun = True
                yield event
    except Exception as error:
        if not begun:
            raise
        yield writer.failed(error)


class EventWriter:
    """Turns a run's events into those of a response."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        own = choice.request.own
        self._own = {spec.name for spec in own.specs()} if own else set()
        self._tools = choice.request.echo.get("tools", ())
        # Where nothing holds a call to its form, it is told when it is known to be well-formed.
        self._tells_calls = choice.request.ask.constrained
        self._hex = suffix(choice.request.completion_id)
        self._number = 0
        self._index = 0
        """Place of the open item, or of the next one."""
        self._open: str | None = None
        """The type of the open item's part, or of the item if it has none."""
        self._identity = ""
        self._parts: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._call: ToolCall | None = None
        self._server: ServerCall | None = None
        self._escaper = ControlEscaper()

    def beginning(self) -> bytes:
        """What comes before the first item."""
        asked = self._choice.interaction()
        shown = head(asked, self._choice.request.served.name, "in_progress")
        return self._event("response.created", response=shown) + self._event(
            "response.in_progress", response=shown
        )

    def tell(self, event: Event) -> Iterator[bytes]:
        """What the client is told of an event now."""
        match event:
            case Fragment("thought", text):
                yield from self._say("reasoning_text", text)
            case Fragment("answer", text):
                yield from self._say("output_text", text)
            case Fragment("refusal", text):
                yield from self._say("refusal", text)
            case Fragment("call", name, call_id):
                yield from self._close("completed")
                yield from self._begin_call(ToolCall(id=call_id, name=name, arguments=""))
            case Fragment("arguments", text):
                yield from self._argue(text)
            case CallStarted(call):
                yield from self._start(call)
            case CallEnded(call, observation):
                yield from self._start(call)
                yield from self._finish(observation.text, failed=observation.failed)

    @cached_property
    def end(self) -> bytes:
        """What follows once the run has ended. Written once: it may be kept before it is sent."""
        response = answer(self._choice)
        if response["output"] and self._logprobs:
            _put_logprobs(response, self._logprobs)
        status = response["status"]
        last = "incomplete" if status == "incomplete" else "completed"
        told = [*self._close(last), *self._untold()]
        return b"".join([*told, self._event(f"response.{status}", response=response), DONE])

    def failed(self, error: Exception) -> bytes:
        """The last event of a response that broke."""
        why = failure(str(error_body(error)["error"]["message"]))
        asked = self._choice.interaction()
        shown = head(asked, self._choice.request.served.name, "failed") | {"error": why}
        return self._event("response.failed", response=shown) + DONE

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return f"event: {kind}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()

    def _of_item(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._identity, output_index=self._index, **fields)

    def _add(self, kind: str, item: dict[str, Any]) -> bytes:
        self._open, self._identity, self._parts = kind, item["id"], []
        return self._event("response.output_item.added", output_index=self._index, item=item)

    def _done(self, item: dict[str, Any]) -> bytes:
        done = self._event("response.output_item.done", output_index=self._index, item=item)
        self._open, self._index = None, self._index + 1
        return done

    def _say(self, kind: str, text: str) -> Iterator[bytes]:
        if self._open != kind:
            yield from self._close("completed")
            if kind == "reasoning_text":
                item = reasoning_item(self._item_id("rs"), None, "in_progress")
            else:
                item = message_item(self._item_id("msg"), None, "in_progress")
            yield self._add(kind, item)
            part = _part(kind, "", [])
            yield self._of_item("response.content_part.added", content_index=0, part=part)
        self._parts.append(text)
        told: dict[str, Any] = {}
        if kind == "output_text":
            told["logprobs"] = self._choice.take_logprobs()
            self._logprobs += told["logprobs"]
        yield self._of_item(f"{_EVENTS[kind]}.delta", content_index=0, delta=text, **told)

    def _close(self, status: str) -> Iterator[bytes]:
        """Whatever is open is done."""
        if self._open in _EVENTS:
            yield from self._close_text(self._open, status)
        elif self._open == "function_call" and self._call is not None:
            call = self._call.model_copy(update={"arguments": "".join(self._parts)})
            yield self._of_item("response.function_call_arguments.done", arguments=call.arguments)
            yield self._done(call_item(self._identity, call, status))
        elif self._open == "mcp_call" and self._server is not None:
            # Cut before it was whole: it never ran.
            shown = self._server.item(self._hex, self._index, None)
            shown |= {"arguments": "".join(self._parts), "status": "incomplete"}
            yield self._done(shown)

    def _close_text(self, kind: str, status: str) -> Iterator[bytes]:
        text = "".join(self._parts)
        if kind == "output_text":
            self._logprobs += self._choice.take_logprobs()
        part = _part(kind, text, self._logprobs)
        name = "refusal" if kind == "refusal" else "text"
        said = {name: text} | ({"logprobs": self._logprobs} if kind == "output_text" else {})
        yield self._of_item(f"{_EVENTS[kind]}.done", content_index=0, **said)
        yield self._of_item("response.content_part.done", content_index=0, part=part)
        if kind == "reasoning_text":
            yield self._done(reasoning_item(self._identity, text, status))
        else:
            yield self._done(message_item(self._identity, part, status))

    def _begin_call(self, call: ToolCall) -> Iterator[bytes]:
        self._call = call
        if call.name not in self._own:
            self._server = None
            if self._tells_calls:
                self._choice.call_told = True
                item = call_item(self._item_id("fc"), call, "in_progress")
                yield self._add("function_call", item)
            return
        self._server = ServerCall.of(call, self._tools)
        if self._server is not None and self._server.label is not None:
            yield from self._begin_server_call(self._server)

    def _begin_server_call(self, server: ServerCall) -> Iterator[bytes]:
        item = server.item(self._hex, self._index, None)
        yield self._add(item["type"], item)
        yield self._of_item(f"response.{item['type']}.in_progress")

    def _argue(self, text: str) -> Iterator[bytes]:
        if self._open == "function_call":
            text = self._escaper.feed(text)
        if self._open in ("function_call", "mcp_call"):
            self._parts.append(text)
            yield self._of_item(f"response.{self._open}_arguments.delta", delta=text)

    def _start(self, call: ToolCall) -> Iterator[bytes]:
        """A call of the server's is whole. Told once, though a call that runs not starts not."""
        if self._server is None or self._call is None or self._call.arguments:
            return
        self._call = call
        self._server = ServerCall(call, self._server.label)
        if self._open == "mcp_call":
            yield self._of_item("response.mcp_call_arguments.done", arguments=call.arguments)
        else:
            yield from self._begin_server_call(self._server)
            yield self._of_item("response.web_search_call.searching")

    def _finish(self, text: str, *, failed: bool) -> Iterator[bytes]:
        if self._server is None or self._open is None:
            return
        item = self._server.item(self._hex, self._index, text, failed=failed)
        if item["type"] == "mcp_call":
            yield self._of_item(f"response.mcp_call.{item['status']}")
        else:
            yield self._of_item("response.web_search_call.completed")
        yield self._done(item)
        self._server = None

    def _untold(self) -> Iterator[bytes]:
        """Calls that the client has to run, whole, unless they were told as they were generated."""
        for call in self._choice.response().tool_calls if not self._choice.call_told else ():
            item = call_item(self._item_id("fc"), call, "in_progress")
            yield self._add("function_call", item | {"arguments": ""})
            self._call, self._parts = call, [call.arguments]
            yield self._of_item("response.function_call_arguments.delta", delta=call.arguments)
            yield from self._close("completed")

    def _item_id(self, prefix: str) -> str:
        return item_id(prefix, self._hex, self._index)


_EVENTS = {
    "reasoning_text": "response.reasoning_text",
    "output_text": "response.output_text",
    "refusal": "response.refusal",
}


def _part(kind: str, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    if kind == "reasoning_text":
        return {"type": kind, "text": text}
    if kind == "refusal":
        return {"type": kind, "refusal": text}
    return text_part(Message(role="assistant", content=text), logprobs)


def _put_logprobs(response: dict[str, Any], logprobs: list[dict[str, Any]]) -> None:
    for item in response["output"]:
        for part in item.get("content", ()):
            if part["type"] == "output_text":
                part["logprobs"] = logprobs
