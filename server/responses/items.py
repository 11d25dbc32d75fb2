"""The items of a conversation: convert them into messages and back.

An item has one thing; a message of the assistant can become several items: its text and each of its
calls. Clients need not send thoughts and calls of the server's tools again: the record has them, so
they are accepted and ignored. The exception is a call that the client approved: its item connects
the question with its result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from agentlm.errors import ForbiddenError, RequestError
from agentlm.messages import Message, ToolCall
from agentlm.server.openai.wire import Items, Wire, as_request_error
from agentlm.server.responses.namespace import joined_name, spelt_call
from agentlm.server.responses.shell import ShellCall, ShellOutput

K = TypeVar("K", bound=Wire)

THOUGHT, SUMMARY = "reasoning_text", "summary_text"
"""The types of the part that contains a thought."""
_RECORDED = {"reasoning", "mcp_call", "mcp_list_tools", "web_search_call"}
_TEXTS = {"input_text", "output_text", "text"}
REFERENCE = "item_reference"
"""The type of an item that refers to another one in the log; it is resolved before items are
read."""
_APPROVALS = ("mcp_approval_request", "mcp_approval_response")
_SHELL = ("shell_call", "shell_call_output")
_KNOWN = (
    *("message", "function_call", "function_call_output", "compaction"),
    *_SHELL,
    *_APPROVALS,
    *sorted(_RECORDED),
)


class Part(Wire):
    """A part of an item's content."""

    type: str
    text: str = ""
    refusal: str = ""


class InputMessage(Wire):
    """A message in text."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | Items[Part]


class FunctionCall(Wire):
    """A call of the client's function."""

    call_id: str = Field(min_length=1)
    name: str
    namespace: str | None = None
    arguments: str = "{}"


class FunctionOutput(Wire):
    """The result of such a call."""

    call_id: str = Field(min_length=1)
    output: str | Items[Part]


class Thought(Wire):
    """A thought. The record has it, or else its encrypted form, which the client got."""

    encrypted_content: str | None = None


class Compaction(Wire):
    """A summarised conversation."""

    encrypted_content: str


class ApprovalRequest(Wire):
    """The question to the client whether it approves a call."""

    id: str = Field(pattern=r"^mcpr_.")
    server_label: str
    name: str
    arguments: str = "{}"


class ApprovalResponse(Wire):
    """The client's decision."""

    approval_request_id: str
    approve: bool
    reason: str | None = None


class MadeCall(Wire):
    """A call that was made here after its approval."""

    approval_request_id: str = ""
    output: str | None = None
    error: Any = None


@dataclass
class Conversation:
    """Messages, which items are added to."""

    messages: list[Message] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    """Ids of all calls so far."""
    open: dict[str, str] = field(default_factory=dict)
    """Calls whose output is still missing, with their places."""
    sealed: dict[str, str] = field(default_factory=dict)
    """Encrypted parts of answers, by their places."""
    compacted: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Place and encrypted content of each summarised conversation, by the index of its message."""
    approved: dict[str, int] = field(default_factory=dict)
    """Calls to make now, with the index of the message for each result."""

    def add_recorded(self, messages: Sequence[Message], place: str) -> None:
        """Add recorded messages. If one of their calls has no output, errors name `place`."""
        for message in messages:
            self.messages.append(message)
            for call in message.tool_calls:
                self._call(call, place)
            if message.tool_call_id is not None:
                self.open.pop(message.tool_call_id, None)

    def add(self, items: str | Sequence[Any], place: str = "input") -> None:
        """Add items. Raises RequestError for an item that is invalid in its place."""
        if isinstance(items, str):
            self.messages.append(Message(role="user", content=items))
            return
        for index, item in enumerate(items):
            self._add(item, f"{place}[{index}]")

    def check_answered(self) -> None:
        """Raises RequestError if a call has no output."""
        if self.open:
            call_id, place = next(iter(self.open.items()))
            raise RequestError(
                f"the function call {call_id[:64]!r} has no output: add an item of type "
                "'function_call_output' with this call_id",
                param=place,
            )

    def _add(self, item: Any, place: str) -> None:
        kind = item_kind(item, place)
        if kind == "message":
            self._say(_read(InputMessage, item, place), place)
        elif kind == "function_call":
            written = _read(FunctionCall, item, place)
            name = joined_name(written.name, written.namespace)
            call = ToolCall(id=written.call_id, name=name, arguments=written.arguments)
            self._join(call, f"{place}.call_id")
        elif kind == "reasoning":
            thought = _read(Thought, item, place)
            if thought.encrypted_content is not None:
                self.sealed[f"{place}.encrypted_content"] = thought.encrypted_content
        elif kind == "compaction":
            text = _read(Compaction, item, place).encrypted_content
            self.compacted[len(self.messages)] = (f"{place}.encrypted_content", text)
            self.messages.append(Message(role="system"))
        elif kind == "function_call_output":
            self._answer(_read(FunctionOutput, item, place), place)

        elif kind == "shell_call":
            self._join(_read(ShellCall, item, place).read(), f"{place}.call_id")
        elif kind == "shell_call_output":
            gave = _read(ShellOutput, item, place)
            self._answer(FunctionOutput(call_id=gave.call_id, output=gave.read()), place)
        elif kind == "mcp_approval_request":
            question = _read(ApprovalRequest, item, place)
            name = f"{question.server_label}__{question.name}"
            call_id = question.id.removeprefix(_ASKED)
            self._join(ToolCall(id=call_id, name=name, arguments=question.arguments), f"{place}.id")
        elif kind == "mcp_approval_response":
            self._decide(_read(ApprovalResponse, item, place), place)
        elif kind == "mcp_call":
            self._give(_read(MadeCall, item, place))

    def approved_calls(self) -> dict[int, ToolCall]:
        """The approved calls, by the index of the message for the result."""
        calls = {call.id: call for message in self.messages for call in message.tool_calls}
        return {index: calls[call_id] for call_id, index in self.approved.items()}

    def made(self, call_id: str, text: str) -> None:
        """Add the result of an approved call."""
        index = self.approved.pop(call_id)
        self.messages[index] = self.messages[index].model_copy(update={"content": text})

    def _decide(self, response: ApprovalResponse, place: str) -> None:
        param = f"{place}.approval_request_id"
        if response.approval_request_id.startswith("appr_"):
            raise ForbiddenError(
                "what the operator's policy asks is decided over /v1/approvals, by keys that may",
                param=param,
            )
        call_id = response.approval_request_id.removeprefix(_ASKED)
        if call_id not in self.open or not response.approval_request_id.startswith(_ASKED):
            raise RequestError(
                f"no call before it waits for an approval of {response.approval_request_id[:64]!r}",
                param=param,
            )
        del self.open[call_id]
        if response.approve:
            self.approved[call_id] = len(self.messages)
        denial = f"The call was not allowed: {response.reason or 'it was denied'}"
        text = "" if response.approve else denial
        self.messages.append(Message(role="tool", content=text, tool_call_id=call_id))

    def _give(self, call: MadeCall) -> None:
        """The result of an earlier approval: the call is not made again."""
        call_id = call.approval_request_id.removeprefix(_ASKED)
        if call_id in self.approved:
            self.made(call_id, _text_of(call))

    def _say(self, message: InputMessage, place: str) -> None:
        role = "system" if message.role == "developer" else message.role
        content = _text(message.content, f"{place}.content")
        self.messages.append(Message(role=role, content=content))

    def _join(self, call: ToolCall, place: str) -> None:
        """Consecutive calls belong to one message, together with the text before them."""
        if call.id in self.calls:
            raise RequestError(f"two calls have the id {call.id[:64]!r}", param=place)
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "assistant":
            last = Message(role="assistant")
            self.messages.append(last)
        self.messages[-1] = last.model_copy(update={"tool_calls": (*last.tool_calls, call)})
        self._call(call, place)

    def _call(self, call: ToolCall, place: str) -> None:
        self.calls.add(call.id)
        self.open[call.id] = place

    def _answer(self, output: FunctionOutput, place: str) -> None:
        if output.call_id not in self.calls:
            raise RequestError(
                f"no function call before it has the call_id {output.call_id[:64]!r}",
                param=f"{place}.call_id",
            )
        if output.call_id not in self.open:
            raise RequestError(
                f"the call {output.call_id[:64]!r} has an output already", param=f"{place}.call_id"
            )
        del self.open[output.call_id]
        content = _text(output.output, f"{place}.output")
        self.messages.append(Message(role="tool", content=content, tool_call_id=output.call_id))


_ASKED = "mcpr_"
"""Prefix to a call's id in the id of its approval request."""


def approval_item(call: ToolCall, label: str) -> dict[str, Any]:
    """The question whether a call of a brought server's tool may be made."""
    return {
        "id": f"{_ASKED}{call.id}",
        "type": "mcp_approval_request",
        "server_label": label,
        "name": call.name.removeprefix(f"{label}__"),
        "arguments": call.arguments,
    }


def _text_of(call: MadeCall) -> str:
    """The text that the model read, from the item's form in `ServerCall`."""
    if call.output is not None or not isinstance(call.error, dict):
        return call.output or ""
    parts = call.error.get("content")
    texts = [part.get("text") for part in parts if isinstance(part, dict)] if parts else []
    return "".join(text for text in texts if isinstance(text, str))


def item_kind(item: Any, place: str) -> str:
    """The type of an item. Raises RequestError for an unsupported one."""
    if not isinstance(item, dict):
        raise RequestError(f"{place}: must be an object, got {type(item).__name__}", param=place)
    kind = item.get("type") or ("message" if "role" in item else REFERENCE)
    if kind not in _KNOWN:
        raise RequestError(
            f"{place}.type: items of type {str(kind)[:64]!r} are not supported; supported: "
            f"{', '.join(_KNOWN)}",
            param=f"{place}.type",
        )
    return str(kind)


def _read(kind: type[K], item: dict[str, Any], place: str) -> K:
    # A null field counts as absent.
    fields = {name: value for name, value in item.items() if value is not None}
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        worse = as_request_error(error)
        raise RequestError(f"{place}.{worse}", param=f"{place}.{worse.param}") from None


def _text(content: str | Sequence[Part], place: str) -> str:
    if isinstance(content, str):
        return content
    for index, part in enumerate(content):
        if part.type != "refusal" and part.type not in _TEXTS:
            raise RequestError(
                f"only text content is supported, got {part.type[:64]!r}",
                param=f"{place}[{index}].type",
            )
    return "".join(part.refusal if part.type == "refusal" else part.text for part in content)


def items_of(
    messages: Sequence[Message], suffix: str, tools: Sequence[Mapping[str, Any]] = ()
) -> Iterator[dict[str, Any]]:
    """Messages as input items. Ids end with `suffix` and the message's index."""
    for index, message in enumerate(messages):
        identity = f"{suffix}_{index}"
        if message.role == "tool":
            yield {
                "id": f"fco_{identity}",
                "type": "function_call_output",
                "call_id": message.tool_call_id,
                "output": message.content,
                "status": "completed",
            }
        elif message.role != "assistant":
            content = [{"type": "input_text", "text": message.content}]
            fields = {"id": f"msg_{identity}", "type": "message", "role": message.role}
            yield fields | {"status": "completed", "content": content}
        else:
            if message.content or message.refusal or not message.tool_calls:
                yield message_item(f"msg_{identity}", text_part(message))
            for number, call in enumerate(message.tool_calls):
                yield call_item(f"fc_{identity}_{number}", call, tools)


def text_part(message: Message, logprobs: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The text of a message, as a part of an item."""
    if message.refusal and not message.content:
        return {"type": "refusal", "refusal": message.refusal}
    logs = list(logprobs)
    return {"type": "output_text", "text": message.content, "annotations": [], "logprobs": logs}


def message_item(
    identity: str, part: dict[str, Any] | None, status: str = "completed"
) -> dict[str, Any]:
    """A message of the assistant."""
    item = {"id": identity, "type": "message", "role": "assistant", "status": status}
    return item | {"content": [] if part is None else [part]}


def call_item(
    identity: str,
    call: ToolCall,
    tools: Sequence[Mapping[str, Any]] = (),
    status: str = "completed",
) -> dict[str, Any]:
    """A call of a function that the client runs, one of `tools`."""
    return {
        "id": identity,
        "type": "function_call",
        "call_id": call.id,
        **spelt_call(call.name, tools),
        "arguments": call.arguments,
        "status": status,
    }


def sealed_item(identity: str, sealed: str) -> dict[str, Any]:
    """What the client needs to go on without the log. It comes last and contains everything
    before."""
    return reasoning_item(identity, None) | {"encrypted_content": sealed}


def reasoning_item(
    identity: str, text: str | None, status: str = "completed", *, kind: str = THOUGHT
) -> dict[str, Any]:
    """A whole thought: as the item's content, or as its summary if the request wants that."""
    parts = [] if text is None else [{"type": kind, "text": text}]
    item: dict[str, Any] = {"id": identity, "type": "reasoning", "summary": [], "content": []}
    return item | {"summary" if kind == SUMMARY else "content": parts, "status": status}
