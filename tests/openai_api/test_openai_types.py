"""What is said on the wire, held strictly to the openai package's types.

Both directions: what we add to their shapes and what we leave out of them is listed here, so that
a change of theirs shows as much as one of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeVar

import httpx
import pytest
from openai.pagination import SyncPage
from openai.types import CompletionUsage, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.shared import ErrorObject
from pydantic import BaseModel, TypeAdapter

from support.serving import Running, Serve

HI = [{"role": "user", "content": "Hi"}]
BASH = {"type": "bash"}
LOOKUP = {"type": "function", "function": {"name": "lookup"}}
BASH_CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
FINAL = "Thought: I know.\nFinal Answer: Done."

M = TypeVar("M", bound=BaseModel)


def strictly(kind: type[M], text: str | bytes) -> M:
    """Read without any coercion."""
    return TypeAdapter(kind).validate_json(text, strict=True)


def added(value: Any, path: str = "") -> set[str]:
    """Paths of what stands in a shape beyond its type."""
    own = {f"{path}{name}" for name in getattr(value, "model_extra", None) or ()}
    return own.union(*(added(child, below) for child, below in children(value, path)))


def left_out(value: Any, path: str = "") -> set[str]:
    """Paths of what the type knows and the shape does not say."""
    own = set()
    if isinstance(value, BaseModel):
        own = {f"{path}{name}" for name in type(value).model_fields.keys() - value.model_fields_set}
    return own.union(*(left_out(child, below) for child, below in children(value, path)))


def children(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    if isinstance(value, list):
        yield from ((item, path) for item in value)
    elif isinstance(value, BaseModel):
        for name in value.model_fields_set & type(value).model_fields.keys():
            yield getattr(value, name), f"{path}{name}."


async def post(running: Running, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        body = {"model": "tiny", "messages": HI, **fields}
        return await client.post(f"{running.url}/v1/chat/completions", json=body)


def chunks(answer: httpx.Response) -> list[ChatCompletionChunk]:
    events = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
    assert events.pop() == "[DONE]"
    return [strictly(ChatCompletionChunk, event) for event in events]


COMPLETION_LEAVES_OUT = {"metadata", "moderation", "service_tier", "system_fingerprint"}
MESSAGE_LEAVES_OUT = {
    f"choices.message.{name}" for name in ("annotations", "audio", "function_call")
}
USAGE_LEAVES_OUT = {
    *(
        f"usage.prompt_tokens_details.{name}"
        for name in ("audio_tokens", "cache_write_tokens", "image_tokens", "text_tokens")
    ),
    *(
        f"usage.completion_tokens_details.{name}"
        for name in (
            "accepted_prediction_tokens",
            "audio_tokens",
            "rejected_prediction_tokens",
            "text_tokens",
        )
    ),
}


async def test_a_completion_is_openais_type(serve: Serve) -> None:
    async with serve("Hello.") as running:
        completion = strictly(ChatCompletion, (await post(running, logprobs=True)).content)

        assert added(completion) == set()
        assert left_out(completion) == {
            *COMPLETION_LEAVES_OUT,
            *MESSAGE_LEAVES_OUT,
            *USAGE_LEAVES_OUT,
            "choices.message.tool_calls",
        }


async def test_a_completion_with_tools_of_both_kinds_is_openais_type(serve: Serve) -> None:
    async with serve(BASH_CALL, CALL) as running:
        completion = strictly(ChatCompletion, (await post(running, tools=[BASH, LOOKUP])).content)

        assert added(completion) == {
            "choices.message.reasoning_content",
            "choices.message.reasoning",
            "choices.message.agent_steps",
        }
        assert left_out(completion) == {
            *COMPLETION_LEAVES_OUT,
            *MESSAGE_LEAVES_OUT,
            *USAGE_LEAVES_OUT,
        }


async def test_logprobs_are_openais_type(serve: Serve) -> None:
    async with serve("Hello.") as running:
        completion = strictly(ChatCompletion, (await post(running, logprobs=True)).content)

        assert completion.choices[0].logprobs is not None
        tokens = completion.choices[0].logprobs.content or []
        spelt = b"".join(bytes(token.bytes or ()) for token in tokens)
        assert spelt.decode() == "".join(token.token for token in tokens) == "Hello."


async def test_usage_adds_up(serve: Serve) -> None:
    async with serve(BASH_CALL, FINAL) as running:
        answer = (await post(running, tools=[BASH])).json()
        usage = strictly(CompletionUsage, json.dumps(answer["usage"]))

        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        assert usage.completion_tokens_details is not None
        assert 0 < (usage.completion_tokens_details.reasoning_tokens or 0) < usage.completion_tokens


async def test_chunks_are_openais_type(serve: Serve) -> None:
    async with serve(BASH_CALL, CALL) as running:
        answer = await post(
            running,
            tools=[BASH, LOOKUP],
            stream=True,
            stream_options={"include_usage": True},
        )
        *parts, last = chunks(answer)

        head = {"id", "choices", "created", "model", "object"}
        # Null, as there, until it is known.
        assert {frozenset(part.model_fields_set) for part in parts} == {frozenset(head | {"usage"})}
        assert {part.usage for part in parts} == {None}
        assert last.model_fields_set == head | {"usage"}
        assert added(last) == set()
        # `obfuscation` pads against who measures the lengths of packets.
        unsaid = {"moderation", "obfuscation", "service_tier", "system_fingerprint"}
        assert left_out(last) == unsaid | USAGE_LEAVES_OUT


async def test_deltas_are_openais_type(serve: Serve) -> None:
    async with serve(BASH_CALL, CALL) as running:
        parts = chunks(await post(running, tools=[BASH, LOOKUP], stream=True))
        deltas = [part.choices[0].delta for part in parts]

        assert {
            name for part in parts for name in left_out(part.choices[0]) if "." not in name
        } == (set())
        assert set().union(*map(added, deltas)) == {"reasoning", "reasoning_content", "agent_steps"}
        assert set.intersection(*map(left_out, deltas)) == {"audio", "function_call", "refusal"}


@pytest.mark.parametrize("tools", [[], [BASH, LOOKUP]])
async def test_a_stream_joins_to_what_is_said_whole(serve: Serve, tools: list[Any]) -> None:
    replies = [BASH_CALL, CALL] if tools else ["Hello there."]
    async with serve(*replies, *replies) as running:
        asked = {"tools": tools, "logprobs": True}
        [whole] = strictly(ChatCompletion, (await post(running, **asked)).content).choices
        parts = [c.choices[0] for c in chunks(await post(running, stream=True, **asked))]

        text = "".join(part.delta.content or "" for part in parts)
        thought = "".join(getattr(part.delta, "reasoning_content", None) or "" for part in parts)
        assert text == (whole.message.content or "")
        assert thought == getattr(whole.message, "reasoning_content", "")
        assert parts[-1].finish_reason == whole.finish_reason
        assert whole.logprobs is not None
        tokens = [t for p in parts if p.logprobs for t in p.logprobs.content or ()]
        assert tokens == whole.logprobs.content
        calls = [call for part in parts for call in part.delta.tool_calls or ()]
        assert "".join(c.function.arguments or "" for c in calls if c.function) == "".join(
            call.function.arguments
            for call in whole.message.tool_calls or ()
            if call.type == "function"
        )


async def test_models_are_openais_type(serve: Serve) -> None:
    async with serve() as running, httpx.AsyncClient() as client:
        listed = await client.get(f"{running.url}/v1/models")
        page = strictly(SyncPage[Model], listed.content)
        [model] = page.data

        assert added(model) == {"root", "parent", "max_model_len", "weights_version"}
        assert (left_out(page), page.object) == ({"data.shutdown_date"}, "list")


@pytest.mark.parametrize("change", [{"temperature": 9}, {"model": "gpt-9"}, {"messages": []}])
async def test_errors_are_openais_type(serve: Serve, change: dict[str, Any]) -> None:
    async with serve() as running:
        body = (await post(running, **change)).json()
        error = strictly(ErrorObject, json.dumps(body.pop("error")))

        assert (added(error), left_out(error), body) == (set(), {"misalignment"}, {})


async def test_every_field_of_a_request_is_read_ignored_or_refused_by_name(serve: Serve) -> None:
    async with serve(*["Hello."] * 50) as running:
        refused = set()
        for name in CompletionCreateParamsBase.__annotations__:
            # Of no field's type; but a field that is known is not said to be unknown.
            error = (await post(running, **{name: {}})).json().get("error", {"message": ""})
            assert "unknown parameter" not in error["message"]
            if "not supported" in error["message"]:
                refused.add(error["param"])

        assert refused == {
            *("audio", "function_call", "functions", "moderation", "web_search_options"),
        }
