"""A response from the log as events, one item at a time.

Each item is sent when it is done, with its text in one delta. So the events of an answer have the
same numbers, whether it is followed while it runs or later, and wherever the follower begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentlm.server.http.errors import error_body
from agentlm.server.openai.answers import DONE
from agentlm.server.responses.events import PARTS, TEXTS, written_event

_UNDER_WAY = ("queued", "in_progress")
_TERMINAL = {"completed": "completed", "failed": "failed"}


class Replay:
    """Sends a response as far as it has come, after the events that were sent before."""

    def __init__(self, starting_after: int | None = None) -> None:
        self._after = -1 if starting_after is None else starting_after
        self._number = 0
        self._sent_items = 0
        self._place: dict[str, Any] = {}
        """Id and index of the item that is being sent."""

    def tell(self, response: dict[str, Any]) -> Iterator[bytes]:
        """The events that are new and after the requested one."""
        for kind, fields in self._events(response):
            number, self._number = self._number, self._number + 1
            if number > self._after:
                yield written_event(kind, number, **fields)

    def broken(self, error: Exception) -> bytes:
        """The last event if no more can be sent. The answer itself may go on."""
        error_fields = error_body(error)["error"]
        fields = {name: error_fields[name] for name in ("code", "message", "param")}
        return written_event("error", self._number, **fields) + DONE

    def _events(self, response: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._number == 0:
            begun = response | _BEGUN
            yield "response.created", {"response": begun}
            yield "response.in_progress", {"response": begun}
        running = is_running(response)
        items = response["output"]
        done = [item for item in items if not running or item.get("status") != "in_progress"]
        for index, item in enumerate(done[self._sent_items :], start=self._sent_items):
            self._place = {"item_id": item["id"], "output_index": index}
            yield from self._item(item, index)
        self._sent_items = len(done)
        if not running:
            last = _TERMINAL.get(response["status"], "incomplete")
            yield f"response.{last}", {"response": response}

    def _item(self, item: dict[str, Any], index: int) -> Iterator[tuple[str, dict[str, Any]]]:
        kind = item["type"]
        began = {name: value for name, value in _EMPTY.items() if name in item}
        yield "response.output_item.added", {"item": item | began, "output_index": index}
        if kind in ("mcp_call", "web_search_call"):
            yield f"response.{kind}.in_progress", self._place
        if kind == "web_search_call":
            yield "response.web_search_call.searching", self._place
        if kind in ("function_call", "mcp_call"):
            arguments = item["arguments"]
            yield f"response.{kind}_arguments.delta", self._place | {"delta": arguments}
            yield f"response.{kind}_arguments.done", self._place | {"arguments": arguments}
        for name in ("summary", "content"):
            for number, part in enumerate(item.get(name) or ()):
                yield from self._part(part, {f"{name}_index": number})
        if kind in ("mcp_call", "web_search_call") and item["status"] in ("completed", "failed"):
            ended = item["status"] if kind == "mcp_call" else "completed"
            yield f"response.{kind}.{ended}", self._place
        yield "response.output_item.done", {"item": item, "output_index": index}

    def _part(
        self, part: dict[str, Any], index: dict[str, int]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        kind, place = part["type"], self._place | index
        name = "refusal" if kind == "refusal" else "text"
        logs = {"logprobs": part["logprobs"]} if kind == "output_text" else {}
        yield f"{PARTS[kind]}.added", place | {"part": part | {name: ""}}
        yield f"{TEXTS[kind]}.delta", place | {"delta": part[name]} | logs
        yield f"{TEXTS[kind]}.done", place | {name: part[name]} | logs
        yield f"{PARTS[kind]}.done", place | {"part": part}


def is_running(response: dict[str, Any]) -> bool:
    """Whether more events will come."""
    return response["status"] in _UNDER_WAY


_BEGUN: dict[str, Any] = {
    "status": "in_progress",
    "output": [],
    "usage": None,
    "completed_at": None,
    "error": None,
    "incomplete_details": None,
}
"""Fields that were unknown when the response began."""
_EMPTY: dict[str, Any] = {
    "status": "in_progress",
    "arguments": "",
    "content": [],
    "summary": [],
    "output": None,
    "error": None,
}
"""The same for an item."""
