"""LangChain's messages to the wire's, and the server's answers to LangChain's messages.

Thoughts and tool activity of a run are in `additional_kwargs["reasoning_content"]`, which
`content_blocks` returns as a `reasoning` block. In structured form they are in
`response_metadata["agent_steps"]`, and on a stream also in `["approvals"]`; these become blocks
too. `response_metadata["trajectory_id"]` names the trajectory that recorded the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    InvalidToolCall,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, default_tool_parser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from pydantic import BaseModel

from agentlm.clients.langchain_blocks import PROVIDER

_UNSENT = ("thinking", "redacted_thinking", "reasoning", "tool_use", "tool_call")
"""Blocks of other providers and of LangChain that this server ignores, or whose content is
elsewhere in the message."""

_BLOCKS_BEFORE_CALLS = 10_000
"""A streamed block's `index` says which chunks belong together. LangChain itself counts the blocks
before calls (thoughts, text, the server's tools), and a call's number must differ from theirs."""


def to_wire(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Messages in the wire's format."""
    return [written for message in messages for written in _write(message)]


def _write(message: BaseMessage) -> list[dict[str, Any]]:
    """Usually one message. A user's `tool_result` blocks become separate messages on the wire."""
    if isinstance(message, AIMessage):
        return [_write_answer(message)]
    if isinstance(message.content, str):
        return [convert_to_openai_messages(message)]
    blocks = [block for block in message.content if _kind(block) not in _UNSENT]
    written = convert_to_openai_messages([message.model_copy(update={"content": blocks})])
    if all(_kind(block) == "text" for block in blocks):
        # Joined without a separator, as the server does.
        written[0]["content"] = str(message.text)
    return written


def _kind(block: str | dict[str, Any]) -> str:
    return "text" if isinstance(block, str) else str(block.get("type"))


def _write_answer(message: AIMessage) -> dict[str, Any]:
    text = str(message.text)
    written = convert_to_openai_messages(message.model_copy(update={"content": text}))
    written["content"] = text
    if message.invalid_tool_calls:
        invalid = [_write_invalid(call) for call in message.invalid_tool_calls]
        written["tool_calls"] = [*written.get("tool_calls", ()), *invalid]
    if reasoning := message.additional_kwargs.get("reasoning_content"):
        written["reasoning_content"] = reasoning
    return written


def _write_invalid(call: InvalidToolCall) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": call["args"]}
    return {"id": call["id"], "type": "function", "function": function}


def read_completion(completion: ChatCompletion, headers: Mapping[str, str]) -> ChatResult:
    """A whole answer; each choice has its own trajectory."""
    trajectories = headers.get("x-trajectory-id", "").split(",")
    generations = []
    # Usage of the whole request, on one message only, so that a sum over messages is right.
    usage = read_usage(completion.usage) if completion.usage else None
    for choice, trajectory in zip_longest(completion.choices, trajectories):
        message = _read_message(choice, usage)
        message.response_metadata |= _origin(completion, headers)
        message.response_metadata["trajectory_id"] = trajectory or None
        info = {"finish_reason": choice.finish_reason, **_logprobs(choice)}
        generations.append(ChatGeneration(message=message, generation_info=info))
        usage = None
    return ChatResult(generations=generations)


def _origin(
    answer: ChatCompletion | ChatCompletionChunk, headers: Mapping[str, str]
) -> dict[str, Any]:
    """`response_metadata` about where an answer comes from."""
    return {
        "id": answer.id,
        "model_name": answer.model,
        "model_provider": PROVIDER,
        "trajectory_id": headers.get("x-trajectory-id"),
        "request_id": headers.get("x-request-id"),
    }


def _read_message(choice: Choice, usage: UsageMetadata | None) -> AIMessage:
    message = choice.message
    calls, invalid = default_tool_parser(
        [call.model_dump() for call in message.tool_calls or () if call.type == "function"]
    )
    return AIMessage(
        content=message.content or message.refusal or "",
        tool_calls=calls,
        invalid_tool_calls=invalid,
        additional_kwargs=_thoughts(message),
        response_metadata=_agent_steps(message),
        usage_metadata=usage,
    )


class StreamReader:
    """Reads a stream's events. The first chunk says where the answer comes from."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers: Mapping[str, str] | None = headers

    def read(self, event: ChatCompletionChunk) -> ChatGenerationChunk:
        chunk = _read_chunk(event)
        if self._headers is not None:
            chunk.message.response_metadata |= _origin(event, self._headers)
            self._headers = None
        return chunk


def _read_chunk(chunk: ChatCompletionChunk) -> ChatGenerationChunk:
    usage = read_usage(chunk.usage) if chunk.usage else None
    if not chunk.choices:
        return ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage))
    choice = chunk.choices[0]
    info = _logprobs(choice)
    if choice.finish_reason:
        info["finish_reason"] = choice.finish_reason
    message = AIMessageChunk(
        content=choice.delta.content or choice.delta.refusal or "",
        tool_call_chunks=_call_chunks(choice),
        additional_kwargs=_thoughts(choice.delta),
        response_metadata=_of_the_server(choice.delta),
        usage_metadata=usage,
    )
    return ChatGenerationChunk(message=message, generation_info=info or None)


def _call_chunks(choice: ChunkChoice) -> list[ToolCallChunk]:
    return [
        ToolCallChunk(
            name=call.function.name if call.function else None,
            args=call.function.arguments if call.function else None,
            id=call.id,
            index=_BLOCKS_BEFORE_CALLS + call.index,
            type="tool_call_chunk",
        )
        for call in choice.delta.tool_calls or ()
    ]


def _thoughts(message: BaseModel) -> dict[str, Any]:
    return _beyond_openai(message, "reasoning_content")


def _agent_steps(message: BaseModel) -> dict[str, Any]:
    return _beyond_openai(message, "agent_steps")


def _of_the_server(delta: BaseModel) -> dict[str, Any]:
    """The server's tool activity in a chunk. LangChain finds its blocks by the provider."""
    fields = _agent_steps(delta) | _approvals(delta)
    return fields | {"model_provider": PROVIDER} if fields else fields


def _approvals(message: BaseModel) -> dict[str, Any]:
    approval = _beyond_openai(message, "approval")
    return {"approvals": [approval["approval"]]} if approval else {}


def _beyond_openai(message: BaseModel, field: str) -> dict[str, Any]:
    value = (message.model_extra or {}).get(field)
    return {field: value} if value else {}


def _logprobs(choice: Choice | ChunkChoice) -> dict[str, Any]:
    return {"logprobs": choice.logprobs.model_dump()} if choice.logprobs else {}


def read_usage(usage: CompletionUsage) -> UsageMetadata:
    """Token counts in LangChain's words."""
    read = UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
    )
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    if prompt and prompt.cached_tokens is not None:
        read["input_token_details"] = InputTokenDetails(cache_read=prompt.cached_tokens)
    if completion and completion.reasoning_tokens is not None:
        read["output_token_details"] = OutputTokenDetails(reasoning=completion.reasoning_tokens)
    return read
