"""A recorded interaction as a response: the same whether it has just ended or is looked up."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from agentlm.messages import ToolCall, ToolSpec
from agentlm.prompt.observation import observed
from agentlm.server.chat.choice import Choice
from agentlm.server.openai.ids import response_of
from agentlm.server.openai.tools import OWN_LABEL
from agentlm.server.responses.items import (
    SUMMARY,
    THOUGHT,
    approval_item,
    call_item,
    message_item,
    reasoning_item,
    sealed_item,
    text_part,
)
from agentlm.server.responses.mcp import label_of, listings
from agentlm.server.responses.namespace import NAMESPACE, functions_of
from agentlm.server.responses.request.body import SOURCES
from agentlm.server.responses.request.tools import WEB_SEARCHES
from agentlm.server.responses.shell import (
    SHELL,
    in_container,
    is_local,
    output_item,
    shell_item,
)
from agentlm.tools.web.search import urls_of
from agentlm.trajectory import Interaction, Outcome, Step, Trajectory, Usage

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response_object(
    interaction: Interaction,
    trajectory: Trajectory,
    logprobs: Sequence[dict[str, Any]] = (),
    *,
    include: Collection[str] = (),
) -> dict[str, Any]:
    """A whole `response`. `include` lists the optional contents."""
    status = status_of(interaction, trajectory.outcome)
    answered = interaction.finish_reason is not None
    reason = _INCOMPLETE.get(interaction.finish_reason or "")
    steps = trajectory.steps[interaction.first_step : interaction.end_step]
    ended = [step.started + step.seconds for step in steps]
    return head(interaction, trajectory.model, status) | {
        "completed_at": int(max(ended)) if ended and status == "completed" else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "error": failure(_LOST) if status == "failed" else None,
        "output": output(
            interaction,
            trajectory.tools,
            steps,
            logprobs,
            include=include,
            runs=status == "in_progress",
        ),
        "usage": usage(interaction.usage) if answered else None,
    }


def answer(choice: Choice, logprobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The response of a run that has ended."""
    ran = {"steps": tuple(choice.transcript.steps), "outcome": choice.transcript.outcome}
    interaction, trajectory = choice.interaction(), choice.trajectory.model_copy(update=ran)
    include = choice.request.echo.get("include", ())
    response = response_object(interaction, trajectory, logprobs, include=include)
    if choice.sealed is not None and interaction.finish_reason is not None:
        items = response["output"]
        identity = item_id("rs", suffix(interaction.completion_id), len(items))
        items.append(sealed_item(identity, choice.sealed()))
    return response


def head(interaction: Interaction, model: str, status: str) -> dict[str, Any]:
    """The part of a response that is known before any output."""
    return {
        "id": response_of(interaction.completion_id),
        "object": "response",
        "created_at": int(interaction.created),
        "completed_at": None,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
        "metadata": interaction.metadata,
        **(
            _UNSAID
            | {name: value for name, value in interaction.echo.items() if name not in _PRIVATE}
        ),
    }


_UNSAID: dict[str, Any] = {
    "instructions": None,
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
"""For an answer to a chat request."""
_PRIVATE = {"include", "approved"}
"""Kept beside the repeated fields: the optional contents, and the calls made at the beginning."""
_LOST = "the answer did not come to its end; the server's log says why"


def failure(message: str) -> dict[str, Any]:
    """The error object of a failed response."""
    return {"code": "server_error", "message": message}


def status_of(interaction: Interaction, outcome: Outcome) -> str:
    """How a response ended, or that it is in progress."""
    if interaction.finish_reason in _INCOMPLETE:
        return "incomplete"
    if interaction.finish_reason is not None:
        return "completed"
    words = {Outcome.RUNNING: "in_progress", Outcome.CANCELLED: "cancelled"}
    return words.get(outcome, "failed")


def usage(counted: Usage) -> dict[str, Any]:
    """Token counts by this wire's names."""
    return {
        "input_tokens": counted.prompt_tokens,
        "input_tokens_details": {"cached_tokens": counted.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": counted.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": counted.reasoning_tokens},
        "total_tokens": counted.total_tokens,
    }


def output(
    interaction: Interaction,
    specs: Sequence[ToolSpec],
    steps: Sequence[Step],
    logprobs: Sequence[dict[str, Any]] = (),
    *,
    include: Collection[str] = (),
    runs: bool = False,
) -> list[dict[str, Any]]:
    """The items of an answer, in order. `specs` are all its tools.

    `runs`: more output will come.
    """
    items = opening(interaction, specs)
    opened = len(items)
    hex_id = suffix(interaction.completion_id)
    tools = interaction.echo.get("tools", ())
    clients = {*functions_of(tools), *(SHELL for tool in tools if is_local(tool))}
    own = {spec.name for spec in specs} - clients
    returned = {call.id for call in interaction.response.tool_calls}
    acts = list(_acts(steps))
    for step, result in acts:
        if step.thought:
            identity = item_id("rs", hex_id, len(items))
            items.append(
                reasoning_item(identity, step.thought, kind=thought_kind(interaction.echo))
            )
        called = step.call
        call = None
        if called and called.name in own and called.id not in returned:
            call = ServerCall.of(called, tools, sources=SOURCES in include)
        if call is not None and result is not None:
            text = observed(result.text)
            items.append(call.item(hex_id, len(items), text, failed=result.failed))
            items += call.output_items(hex_id, len(items), text, failed=result.failed)
        elif call is not None and call.label is not None:
            items.append(call.unrun_item(hex_id, len(items), runs=runs))
        elif called and called.name in clients and step.finish_reason == "length":
            items.append(returned_item(hex_id, len(items), called, tools, "incomplete"))
    response = interaction.response
    if response.content or response.refusal:
        part = text_part(response, logprobs)
        items.append(message_item(item_id("msg", hex_id, len(items)), part))
    for called in response.tool_calls:
        items.append(returned_item(hex_id, len(items), called, tools))
    in_call = acts and acts[-1][0].call is not None and acts[-1][0].call.name in own | clients
    if len(items) > opened and interaction.finish_reason in _INCOMPLETE and not in_call:
        items[-1]["status"] = "incomplete"
    return items


def returned_item(
    hex_id: str,
    index: int,
    call: ToolCall,
    tools: Sequence[Mapping[str, Any]],
    status: str = "completed",
) -> dict[str, Any]:
    """A call for the client to run or to approve."""
    if label := label_of(call.name, tools):
        return approval_item(call, label)
    if call.name == SHELL and any(map(is_local, tools)):
        return shell_item(item_id("sh", hex_id, index), call, status)
    return call_item(item_id("fc", hex_id, index), call, tools, status)


def opening(interaction: Interaction, specs: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """Items before the model's output: the tools of servers that the request names, and the results
    of calls that it approved.
    """
    hex_id = suffix(interaction.completion_id)
    tools = interaction.echo.get("tools", ())
    items = [
        {"id": item_id("mcpl", hex_id, index), **listing}
        for index, listing in enumerate(listings(tools, specs))
    ]
    calls = {call.id: call for message in interaction.messages for call in message.tool_calls}
    texts = {message.tool_call_id: message.content for message in interaction.messages}
    for call_id, failed in interaction.echo.get("approved", {}).items():
        call = calls[call_id]
        made = ServerCall(call, label_of(call.name, tools) or OWN_LABEL)
        item = made.item(hex_id, len(items), texts[call_id], failed=failed)
        items.append(item | {"approval_request_id": approval_item(call, "")["id"]})
    return items


def _acts(steps: Sequence[Step]) -> Iterator[tuple[Step, Step | None]]:
    """The model's steps, each with the result of its call if it ran here."""
    results = {step.tool_call_id: step for step in steps if step.tool_call_id}
    for step in steps:
        if step.role == "assistant":
            yield step, results.get(step.call.id) if step.call else None


def suffix(completion_id: str) -> str:
    """The common part of the ids of an answer's items."""
    return response_of(completion_id).removeprefix("resp_")


def item_id(prefix: str, hex_id: str, index: int) -> str:
    """An item's id is made of its answer and its place in it."""
    return f"{prefix}_{hex_id}_{index}"


class ServerCall:
    """A call of a server tool, as the type of item that clients know."""

    def __init__(
        self, call: ToolCall, label: str | None, *, sources: bool = False, shell: bool = False
    ) -> None:
        self.call = call
        self.label = label
        """Label of the MCP server that has the tool; None: the tool is the web's or the shell."""
        self.shell = shell
        self.sources = sources
        """Include the pages that a search found."""

    @classmethod
    def of(
        cls, call: ToolCall, tools: Sequence[dict[str, Any]], *, sources: bool = False
    ) -> ServerCall | None:
        """None if the request did not declare the tool: then clients don't know an item for it."""
        kinds = {tool["type"] for tool in tools if not is_local(tool)} - {"function", NAMESPACE}
        if not kinds:
            return None
        if call.name == "bash" and in_container(tools):
            return cls(call, None, shell=True)
        if call.name in _WEB and kinds & {*WEB_SEARCHES}:
            return cls(call, None, sources=sources)
        label, parts, _ = call.name.partition("__")
        # Tools of the operator's MCP servers are called SERVER__TOOL.
        theirs = any(t["type"] == "mcp" and "server_description" not in t for t in tools)
        return cls(call, label if parts and theirs else OWN_LABEL)

    def item(
        self, hex_id: str, index: int, text: str | None, *, failed: bool = False
    ) -> dict[str, Any]:
        """`text` is the result; None: the call is still running."""
        status = "in_progress" if text is None else "failed" if failed else "completed"
        if self.shell:
            status = "in_progress" if text is None else "completed"
            return shell_item(item_id("sh", hex_id, index), self.call, status, local=False)
        if self.label is None:
            return {
                "id": item_id("ws", hex_id, index),
                "type": "web_search_call",
                "status": status,
                "action": self._action(text),
            }
        failure = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": text}]}
        return {
            "id": item_id("mcp", hex_id, index),
            "type": "mcp_call",
            "server_label": self.label,
            "name": self.call.name.removeprefix(f"{self.label}__"),
            "arguments": self.call.arguments,
            "output": None if failed else text,
            "error": failure if failed else None,
            "status": status,
        }

    def output_items(
        self, hex_id: str, index: int, text: str, *, failed: bool
    ) -> list[dict[str, Any]]:
        """Items after the call's item: the shell's result is a separate item."""
        if not self.shell:
            return []
        return [output_item(item_id("sho", hex_id, index), self.call, text, failed=failed)]

    def unrun_item(self, hex_id: str, index: int, *, runs: bool = False) -> dict[str, Any]:
        """The item of a call that was cut, could not be run, or is running."""
        item = self.item(hex_id, index, None)
        return item if runs else item | {"status": "incomplete"}

    def _action(self, text: str | None) -> dict[str, Any]:
        try:
            arguments = self.call.parsed()
        except (ValueError, RecursionError):
            arguments = {}
        if self.call.name == "web_fetch":
            return {"type": "open_page", "url": str(arguments.get("url", ""))}
        query = str(arguments.get("query", ""))
        search = {"type": "search", "query": query, "queries": [query]}
        if not self.sources:
            return search
        return search | {"sources": [{"type": "url", "url": url} for url in urls_of(text or "")]}


_WEB = ("web_search", "web_fetch")


def thought_kind(echo: Mapping[str, Any]) -> str:
    """The type of the part for an answer's thoughts."""
    reasoning = echo.get("reasoning") or {}
    return SUMMARY if reasoning.get("summary") else THOUGHT


def written(response: dict[str, Any]) -> str:
    """The response as it is sent."""
    return json.dumps(response, ensure_ascii=False)
