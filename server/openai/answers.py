"""The server's answers in OpenAI's format.

These are dicts instead of the openai package's models, because a stream makes one per token. Tests
check each shape against that package's types.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from agentlm.agent.engine_policy import Token
from agentlm.agent.loop import CallEnded
from agentlm.engine.protocol import TokenLogprob
from agentlm.messages import Message, ToolCall
from agentlm.openai_messages import write_message
from agentlm.prompt.grammar import call_lead
from agentlm.prompt.observation import OBSERVATION
from agentlm.trajectory import FinishReason, Usage


def finished_choice(
    index: int, response: Message, finish_reason: FinishReason | None
) -> dict[str, Any]:
    """A choice of a whole completion."""
    message = write_message(response) | {"refusal": response.refusal}
    if response.refusal and not response.content:
        message["content"] = None
    return {"index": index, "message": message, "finish_reason": finish_reason, "logprobs": None}


def reasoning(text: str) -> dict[str, str]:
    """Thoughts and tool activity, under both names in use for the field."""
    return {"reasoning": text, "reasoning_content": text}


def call_text(name: str) -> str:
    """The beginning of a server tool's call in the reasoning text."""
    return f"\n{call_lead(name)}"


def observation_text(text: str) -> str:
    """A result in the reasoning text."""
    return f"\n{OBSERVATION} {text}\n"


def agent_step(event: CallEnded) -> dict[str, Any]:
    """A finished call of a server tool, on a stream."""
    return {
        "id": event.call.id,
        "call": event.call.name,
        "arguments": event.call.arguments,
        "observation": event.observation.text,
        "failed": event.observation.failed,
        "seconds": round(event.observation.seconds, 3),
    }


def approval(identity: str, call: ToolCall) -> dict[str, Any]:
    """A call that waits for a person, on a stream: see `/v1/approvals`."""
    return {"id": identity, "call": call.name, "arguments": call.arguments}


def usage(parts: Sequence[Usage]) -> dict[str, Any]:
    """Usage of all choices together. They share a prompt, which counts once."""
    prompt = max(part.prompt_tokens for part in parts)
    completion_tokens = sum(part.completion_tokens for part in parts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": parts[0].cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": sum(part.reasoning_tokens for part in parts)
        },
    }


def logprobs(tokens: Sequence[Token], spell: Callable[[int], bytes]) -> list[dict[str, Any]]:
    """Tokens with their alternatives, as OpenAI's `logprobs.content`."""
    return [
        {
            **_token(token.token_id, token.logprob, spell),
            "top_logprobs": [_token(top.token_id, top.logprob, spell) for top in token.top],
        }
        for token in tokens
    ]


def prompt_logprobs(
    scored: Sequence[Sequence[TokenLogprob]], spell: Callable[[int], bytes]
) -> list[dict[str, Any] | None]:
    """vLLM's `prompt_logprobs`, by id, for each token except the first."""
    return [_scored(position, spell) if position else None for position in scored]


def _scored(
    position: Sequence[TokenLogprob], spell: Callable[[int], bytes]
) -> dict[str, dict[str, Any]]:
    own, *likeliest = position
    ranks = {each.token_id: rank for rank, each in enumerate(likeliest, start=1)}
    return {
        str(each.token_id): {
            "logprob": max(each.logprob, -9999.0),
            "rank": ranks.get(each.token_id),
            "decoded_token": spell(each.token_id).decode(errors="replace"),
        }
        for each in (own, *likeliest)
    }


def _token(token_id: int, logprob: float, spell: Callable[[int], bytes]) -> dict[str, Any]:
    raw = spell(token_id)
    # JSON has no -inf; OpenAI uses -9999 for impossible tokens.
    return {
        "token": raw.decode(errors="replace"),
        "logprob": max(logprob, -9999.0),
        "bytes": list(raw),
    }


class Chunks:
    """The `chat.completion.chunk` events of one request, as server-sent events."""

    def __init__(
        self, identity: str, created: float, model: str, *, include_usage: bool = False
    ) -> None:
        # Everything except the choices is the same in each chunk, so it is encoded once.
        head = {
            "id": identity,
            "object": "chat.completion.chunk",
            "created": int(created),
            "model": model,
        }
        self._head = "data: " + json.dumps(head, ensure_ascii=False)[:-1] + ',"choices":['
        self._tail = "]" + ',"usage":null' * include_usage + "}\n\n"

    def delta(
        self,
        index: int,
        delta: dict[str, Any],
        finish_reason: str | None = None,
        logprobs: list[dict[str, Any]] | None = None,
        **ids: list[int],
    ) -> bytes:
        """One chunk for one choice. `ids` are vLLM's `token_ids` and `prompt_token_ids`."""
        choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish_reason}
        choice |= ids
        choice["logprobs"] = None if logprobs is None else {"content": logprobs, "refusal": None}
        return f"{self._head}{json.dumps(choice, ensure_ascii=False)}{self._tail}".encode()

    def usage(self, parts: Sequence[Usage]) -> bytes:
        """The chunk after those of the choices, if the client wants usage."""
        return f'{self._head}],"usage":{json.dumps(usage(parts))}}}\n\n'.encode()


DONE = b"data: [DONE]\n\n"
