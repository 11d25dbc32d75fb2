"""A response while it is generated: its events, in the specification's order.

Each item is added, sent in parts and done before the next one begins. The last event says how the
response ended, and comes after the commit.
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
from agentlm.server.responses.items import (
    SUMMARY,
    THOUGHT,
    call_item,
    message_item,
    reasoning_item,
    text_part,
)
from agentlm.server.responses.mcp import label_of
from agentlm.server.responses.output import (
    ServerCall,
    answer,
    failure,
    head,
    item_id,
    opening,
    suffix,
    thought_kind,
)
from agentlm.server.responses.request.body import SOURCES
from agentlm.server.responses.request.words import in_these_words
from agentlm.server.responses.shell import SHELL, is_local


async def response_events(choice: Choice, writer: EventWriter) -> AsyncGenerator[bytes, None]:
    """Run a choice and yield its events. Closing the generator cancels it.

    Nothing is yielded before the first event of the run, so an earlier failure has its own status.
    """
    choice.delivered = 0
    with in_these_words():
        async with aclosing(choice.run()) as events:
            async for event in events:
                if sent := writer.beginning() + b"".join(writer.tell(event)):
                    yield sent
                choice.delivered = writer.characters
    yield writer.end


class EventWriter:
    """Turns a run's events into those of a response."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        own = choice.request.own
        self._own = {spec.name for spec in own.specs()} if own else set()
        echo = choice.request.echo
        self._tools = echo.get("tools", ())
        self._sources = SOURCES in echo.get("include", ())
        self._thought = thought_kind(echo)
        # Without constrained decoding, a call is sent only once it is known to be well-formed.
        self._tells_calls = choice.request.ask.constrained
        names = {spec.name for spec in choice.request.tools} - self._own
        # A call that the client has to approve, or that is the shell's, is sent only when it is
        # complete.
        whole = {SHELL} if any(map(is_local, self._tools)) else set()
        whole |= {name for name in names if label_of(name, self._tools)}
        self._clients = names - whole
        self._hex = suffix(choice.request.completion_id)
        self._number = 0
        self.characters = 0
        """Number of characters from the model that were sent."""
        self._index = 0
        """Index of the open item, or of the next one."""
        self._open: str | None = None
        """Type of the open item's part, or of the item if it has no parts."""
        self._identity = ""
        self._parts: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._call: ToolCall | None = None
        self._server: ServerCall | None = None
        self._escaper = ControlEscaper()

    def beginning(self) -> bytes:
        """Everything before the first item; empty if it was sent already."""
        if self._number:
            return b""
        interaction = self._choice.interaction()
        response = head(interaction, self._choice.request.served.name, "in_progress")
        begun = [self._event(f"response.{word}", response=response) for word in _BEGUN]
        opened = opening(interaction, self._choice.request.tools)
        return b"".join([*begun, *map(self._opened, opened)])

    def tell(self, event: Event) -> Iterator[bytes]:
        """The bytes to send for an event."""
        match event:
            case Fragment("thought", text):
                yield from self._say(self._thought, text)
            case Fragment("answer", text):
                yield from self._say("output_text", text)
            case Fragment("refusal", text):
                yield from self._say("refusal", text)
            case Fragment("call", name, call_id):
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
        """The rest once the run has ended. It is computed once, since it may be kept before it is
        sent."""
        begun = self.beginning()
        self._logprobs += self._choice.take_logprobs()
        response = answer(self._choice, self._logprobs)
        items = response["output"]
        statuses = {item["id"]: item.get("status", "completed") for item in items}
        event_bytes = [begun, *self._close(statuses.get(self._identity, "completed"))]
        event_bytes += [self._whole(item) for item in items[self._index :]]
        event_bytes.append(self._event(f"response.{response['status']}", response=response))
        return b"".join([*event_bytes, DONE])

    def failed(self, error: Exception) -> bytes:
        """The last event of a response that failed."""
        why = failure(str(error_body(error)["error"]["message"]))
        interaction = self._choice.interaction()
        response = head(interaction, self._choice.request.served.name, "failed") | {"error": why}
        return self.beginning() + self._event("response.failed", response=response) + DONE

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return written_event(kind, self._number - 1, **fields)

    def _of_item(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._identity, output_index=self._index, **fields)

    def _of_part(self, kind: str, **fields: Any) -> bytes:
        index = "summary_index" if self._open == SUMMARY else "content_index"
        return self._of_item(kind, **{index: 0}, **fields)

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
            if kind == self._thought:
                item = reasoning_item(self._item_id("rs"), None, "in_progress")
            else:
                item = message_item(self._item_id("msg"), None, "in_progress")
            yield self._add(kind, item)
            yield self._of_part(f"{PARTS[kind]}.added", part=_part(kind, "", []))
        self._parts.append(text)
        self.characters += len(text)
        extra: dict[str, Any] = {}
        if kind == "output_text":
            extra["logprobs"] = self._choice.take_logprobs()
            self._logprobs += extra["logprobs"]
        yield self._of_part(f"{TEXTS[kind]}.delta", delta=text, **extra)

    def _close(self, status: str) -> Iterator[bytes]:
        """End the item that is open, if any."""
        if self._open in TEXTS:
            yield from self._close_text(self._open, status)
        elif self._open == "function_call" and self._call is not None:
            call = self._call.model_copy(update={"arguments": "".join(self._parts)})
            yield self._of_item("response.function_call_arguments.done", arguments=call.arguments)
            yield self._done(call_item(self._identity, call, self._tools, status))
        elif self._open == "mcp_call" and self._server is not None:
            # It was cut before it was complete, so it never ran.
            call = self._server.call.model_copy(update={"arguments": "".join(self._parts)})
            server = ServerCall(call, self._server.label)
            yield self._done(server.unrun_item(self._hex, self._index))

    def _close_text(self, kind: str, status: str) -> Iterator[bytes]:
        text = "".join(self._parts)
        if kind == "output_text":
            self._logprobs += self._choice.take_logprobs()
        part = _part(kind, text, self._logprobs)
        name = "refusal" if kind == "refusal" else "text"
        fields = {name: text} | ({"logprobs": self._logprobs} if kind == "output_text" else {})
        yield self._of_part(f"{TEXTS[kind]}.done", **fields)
        yield self._of_part(f"{PARTS[kind]}.done", part=part)
        if kind == self._thought:
            yield self._done(reasoning_item(self._identity, text, status, kind=kind))
        else:
            yield self._done(message_item(self._identity, part, status))

    def _begin_call(self, call: ToolCall) -> Iterator[bytes]:
        if call.name not in self._own | self._clients:
            return  # the name was cut, or no tool has it
        yield from self._close("completed")
        self._call = call
        if call.name in self._clients:
            self._server = None
            if self._tells_calls:
                item = call_item(self._item_id("fc"), call, self._tools, "in_progress")
                yield self._add("function_call", item)
            return
        self._server = ServerCall.of(call, self._tools, sources=self._sources)
        if self._server is not None and self._server.label is not None:
            yield from self._begin_server_call(self._server)

    def _begin_server_call(self, server: ServerCall) -> Iterator[bytes]:
        item = server.item(self._hex, self._index, None)
        yield self._add(item["type"], item)
        if not server.shell:
            yield self._of_item(f"response.{item['type']}.in_progress")

    def _argue(self, text: str) -> Iterator[bytes]:
        if self._open == "function_call":
            text = self._escaper.feed(text)
        if self._open in ("function_call", "mcp_call"):
            self._parts.append(text)
            self.characters += len(text)
            yield self._of_item(f"response.{self._open}_arguments.delta", delta=text)

    def _start(self, call: ToolCall) -> Iterator[bytes]:
        """A call of the server's is complete. It is sent once, even if it never runs."""
        if self._server is None or self._call is None or self._call.arguments:
            return
        self._call = call
        begun = self._server
        self._server = ServerCall(call, begun.label, sources=begun.sources, shell=begun.shell)
        if self._open == "mcp_call":
            yield self._of_item("response.mcp_call_arguments.done", arguments=call.arguments)
        else:
            yield from self._begin_server_call(self._server)
            if not self._server.shell:
                yield self._of_item("response.web_search_call.searching")

    def _finish(self, text: str, *, failed: bool) -> Iterator[bytes]:
        if self._server is None or self._open is None:
            return
        server, self._server = self._server, None
        item = server.item(self._hex, self._index, text, failed=failed)
        if not server.shell:
            # A failed search counts as completed: there is no other event for it.
            word = item["status"] if server.label else "completed"
            yield self._of_item(f"response.{item['type']}.{word}")
        yield self._done(item)
        for more in server.output_items(self._hex, self._index, text, failed=failed):
            yield self._whole(more)

    def _opened(self, item: dict[str, Any]) -> bytes:
        """An item that was complete before the model generated anything."""
        kind = item["type"]
        begun: dict[str, Any] = {"status": "in_progress", "output": None, "error": None}
        first = item | ({"tools": []} if kind == "mcp_list_tools" else begun)
        status = item.get("status", "completed")
        event_bytes = [self._add(kind, first), self._of_item(f"response.{kind}.in_progress")]
        if kind == "mcp_call":
            done = self._of_item("response.mcp_call_arguments.done", arguments=item["arguments"])
            event_bytes.append(done)
        return b"".join(
            [*event_bytes, self._of_item(f"response.{kind}.{status}"), self._done(item)]
        )

    def _whole(self, item: dict[str, Any]) -> bytes:
        """An item that was not sent while it was generated."""
        if item["type"] != "function_call":
            return self._add(item["type"], item) + self._done(item)
        name, arguments = "response.function_call_arguments", item["arguments"]
        return b"".join(
            [
                self._add(item["type"], item | {"arguments": "", "status": "in_progress"}),
                self._of_item(f"{name}.delta", delta=arguments),
                self._of_item(f"{name}.done", arguments=arguments),
                self._done(item),
            ]
        )

    def _item_id(self, prefix: str) -> str:
        return item_id(prefix, self._hex, self._index)


def written_event(kind: str, number: int, **fields: Any) -> bytes:
    """One event, as it is sent."""
    event = {"type": kind, "sequence_number": number, **fields}
    return f"event: {kind}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


_BEGUN = ("created", "in_progress")
TEXTS = {
    THOUGHT: "response.reasoning_text",
    SUMMARY: "response.reasoning_summary_text",
    "output_text": "response.output_text",
    "refusal": "response.refusal",
}
"""For each type of part, the beginning of the names of its text's events."""
PARTS = dict.fromkeys(TEXTS, "response.content_part")
PARTS[SUMMARY] = "response.reasoning_summary_part"
"""The same for the events of the part itself."""


def _part(kind: str, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    if kind in (THOUGHT, SUMMARY):
        return {"type": kind, "text": text}
    if kind == "refusal":
        return {"type": kind, "refusal": text}
    return text_part(Message(role="assistant", content=text), logprobs)
