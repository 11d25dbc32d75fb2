"""What an upstream says reaches the client in its own words, and the client's asking reaches it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pytest_httpserver import HTTPServer

from agentlm.trajectory import Outcome
from support.serving import Running
from support.upstreams import events, near

CHAT = "/v1/chat/completions"
HI: Any = [{"role": "user", "content": "Hi"}]
PARAMETERS = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
LOOKUP: Any = {"type": "function", "function": {"name": "lookup", "parameters": PARAMETERS}}


def chunk_of(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def calling(arguments: str | None) -> dict[str, Any]:
    function = {"name": "lookup", "arguments": arguments}
    return chunk_of(tool_calls=[{"index": 0, "id": "c", "function": function}])


async def ask(server: Running, **fields: Any) -> Any:
    return await server.client.chat.completions.create(
        **{"model": "teacher", "messages": HI, **fields}
    )


async def test_null_is_as_good_as_nothing(tmp_path: Path, httpserver: HTTPServer) -> None:
    nulls = [
        {"choices": None},
        {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
        chunk_of(tool_calls=[{"index": 0, "id": "c", "function": None}]),
        chunk_of("stop", content="Hello."),
        {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": 3}},
    ]
    httpserver.expect_request(CHAT).respond_with_response(events(*nulls))
    async with near(tmp_path, httpserver.url_for("/v1")) as server:
        answer = await ask(server)

    assert answer.choices[0].message.content == "Hello."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (0, 3)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_bound_on_tokens_keeps_its_name(
    tmp_path: Path, httpserver: HTTPServer, name: str
) -> None:
    httpserver.expect_request(CHAT).respond_with_response(
        events(chunk_of("stop", content="Hello."))
    )
    async with near(tmp_path, httpserver.url_for("/v1")) as server:
        await ask(server, **{name: 7})

    asked = httpserver.log[0][0].get_json()
    assert {key: asked[key] for key in asked if "tokens" in key} == {name: 7}


@pytest.mark.parametrize("strict", [True, False, None])
async def test_the_arguments_that_were_to_be_strict_are(
    tmp_path: Path, httpserver: HTTPServer, strict: bool | None
) -> None:
    function = {**LOOKUP["function"], **({} if strict is None else {"strict": strict})}
    httpserver.expect_request(CHAT).respond_with_response(
        events(chunk_of("stop", content="Hello."))
    )
    async with near(tmp_path, httpserver.url_for("/v1")) as server:
        await ask(server, tools=[{"type": "function", "function": function}])

    [tool] = httpserver.log[0][0].get_json()["tools"]
    assert tool["function"] == {"description": "", **function}


async def test_a_filtered_answer_says_so(tmp_path: Path, httpserver: HTTPServer) -> None:
    chunks = [chunk_of(content="I"), chunk_of("content_filter")]
    httpserver.expect_request(CHAT).respond_with_response(events(*chunks))
    async with near(tmp_path, httpserver.url_for("/v1")) as server:
        answer = await ask(server)
        [trajectory] = server.trajectories()

    assert answer.choices[0].finish_reason == "content_filter"
    assert answer.choices[0].message.content == "I"
    assert trajectory.outcome is Outcome.INVALID
    assert trajectory.steps[-1].finish_reason == "content_filter"
    assert trajectory.interactions[0].finish_reason == "content_filter"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_clients_call_is_passed_on_as_it_came(
    tmp_path: Path, httpserver: HTTPServer, stream: bool
) -> None:
    chunks = [calling('{"key": oops'), chunk_of("tool_calls")]
    httpserver.expect_request(CHAT).respond_with_response(events(*chunks))
    async with near(tmp_path, httpserver.url_for("/v1")) as server:
        answer = await ask(server, tools=[LOOKUP], stream=stream)
        if stream:
            choices = [chunk.choices[0] async for chunk in answer]
            calls = [call for choice in choices for call in choice.delta.tool_calls or ()]
        else:
            choices = answer.choices
            calls = choices[0].message.tool_calls
        [trajectory] = server.trajectories()

    assert "".join(call.function.arguments for call in calls) == '{"key": oops'
    assert choices[-1].finish_reason == "tool_calls"
    assert trajectory.outcome is Outcome.REQUIRES_ACTION
    # It is told apart in the log, and not learnt.
    assert "not JSON" in (trajectory.steps[-1].error or "")


class Number(BaseModel):
    value: int


async def test_a_refusal_is_no_answer(tmp_path: Path, httpserver: HTTPServer) -> None:
    chunks = [chunk_of(refusal="I "), chunk_of(refusal="won't."), chunk_of("stop")]
    httpserver.expect_request(CHAT).respond_with_response(events(*chunks))
    async with near(tmp_path, httpserver.url_for("/v1")) as server:
        parsed = await server.client.chat.completions.parse(
            model="teacher", messages=HI, response_format=Number, store=True
        )
        message = parsed.choices[0].message
        stream = await ask(server, stream=True)
        refusals = [chunk.choices[0].delta.refusal or "" async for chunk in stream]
        stored = await server.client.chat.completions.retrieve(parsed.id)
        returned = [*HI, message.model_dump(include={"role", "content", "refusal"}), *HI]
        await ask(server, messages=returned)
        _, last = server.trajectories()

    assert (message.content, message.refusal, message.parsed) == (None, "I won't.", None)
    assert "".join(refusals) == stored.choices[0].message.refusal == "I won't."
    # It is recorded as the answer, and what follows continues from there.
    assert (last.steps[1].answer, len(last.interactions)) == ("I won't.", 2)
    assert httpserver.log[-1][0].get_json()["messages"][1]["content"] == "I won't."
