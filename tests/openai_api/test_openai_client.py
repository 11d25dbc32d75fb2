"""The stock openai client is the oracle: what it can do with OpenAI it can do here."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI, pydantic_function_tool
from pydantic import BaseModel

from agentlm.engine.protocol import Delta
from agentlm.errors import RequestError, UnavailableError
from agentlm.store import ApiKey
from agentlm.trajectory import Outcome
from support.serving import Running, Serve

HI: Any = [{"role": "user", "content": "Hi"}]
CALL = 'Thought: I look.\nAction: lookup\nAction Input: {"key": "a", "depth": 2}'
BASH_CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
FINAL = "Thought: I know.\nFinal Answer: Done."
DOWN = UnavailableError("the engine is starting again")


class Lookup(BaseModel):
    """Look a key up."""

    key: str
    depth: int


class City(BaseModel):
    """A place."""

    name: str
    people: int


LOOKUP: Any = pydantic_function_tool(Lookup, name="lookup")


def blocking(running: Running, **options: Any) -> OpenAI:
    return OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, **options)


# -- asking ------------------------------------------------------------------------------------


async def test_the_blocking_client_works_as_the_other(serve: Serve) -> None:
    async with serve("Hello.", "Hello.") as running:

        def ask() -> tuple[str | None, str]:
            with blocking(running) as client:
                whole = client.chat.completions.create(model="tiny", messages=HI)
                chunks = client.chat.completions.create(model="tiny", messages=HI, stream=True)
                parts = [c.choices[0].delta.content or "" for c in chunks]
            return whole.choices[0].message.content, "".join(parts)

        assert await asyncio.to_thread(ask) == ("Hello.", "Hello.")


async def test_the_stream_helper_tells_text_and_the_whole(serve: Serve) -> None:
    async with serve("Hello there.") as running:
        asked = running.client.chat.completions.stream(
            model="tiny", messages=HI, logprobs=True, stream_options={"include_usage": True}
        )
        async with asked as stream:
            events = [event async for event in stream]
        whole = await stream.get_final_completion()

        deltas = [event.delta for event in events if event.type == "content.delta"]
        assert "".join(deltas) == "Hello there."
        assert whole.choices[0].message.content == "Hello there."
        assert whole.usage is not None
        [logprobs] = [e.content for e in events if e.type == "logprobs.content.done"]
        assert "".join(token.token for token in logprobs) == "Hello there."


async def test_the_stream_helper_tells_a_call_and_its_parsed_arguments(serve: Serve) -> None:
    async with serve(CALL) as running:
        asked = running.client.chat.completions.stream(model="tiny", messages=HI, tools=[LOOKUP])
        async with asked as stream:
            events = [event async for event in stream]
        whole = await stream.get_final_completion()

        [done] = [e for e in events if e.type == "tool_calls.function.arguments.done"]
        assert done.name == "lookup"
        assert done.parsed_arguments == Lookup(key="a", depth=2)
        [call] = whole.choices[0].message.tool_calls or []
        assert call.function.parsed_arguments == Lookup(key="a", depth=2)
        assert whole.choices[0].finish_reason == "tool_calls"


async def test_the_stream_helper_parses_an_answer_of_a_type(serve: Serve) -> None:
    async with serve('{"name": "Paris", "people": 2}') as running:
        asked = running.client.chat.completions.stream(
            model="tiny", messages=HI, response_format=City
        )
        async with asked as stream:
            events = [event async for event in stream]

        [done] = [event for event in events if event.type == "content.done"]
        assert done.parsed == City(name="Paris", people=2)


async def test_parse_gives_an_object_and_holds_decoding_to_its_schema(serve: Serve) -> None:
    async with serve('{"name": "Paris", "people": 2}') as running:
        whole = await running.client.chat.completions.parse(
            model="tiny", messages=HI, response_format=City
        )

        assert whole.choices[0].message.parsed == City(name="Paris", people=2)
        constraint: Any = running.engine.requests[0].constraint
        assert set(json.loads(constraint.json_schema)["required"]) == {"name", "people"}


async def test_parse_gives_the_arguments_of_a_call(serve: Serve) -> None:
    async with serve(CALL) as running:
        whole = await running.client.chat.completions.parse(
            model="tiny", messages=HI, tools=[LOOKUP], tool_choice="required"
        )

        [call] = whole.choices[0].message.tool_calls or []
        assert call.function.parsed_arguments == Lookup(key="a", depth=2)


async def test_a_parsed_message_sent_back_continues_its_run(serve: Serve) -> None:
    async with serve(CALL, FINAL) as running:
        ask = running.client.chat.completions.parse
        first = await ask(model="tiny", messages=HI, tools=[LOOKUP])
        message: Any = first.choices[0].message
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "42"}
        await ask(model="tiny", messages=[*HI, message, result], tools=[LOOKUP])  # type: ignore[list-item]

        [trajectory] = running.trajectories()
        assert len(trajectory.interactions) == 2


async def test_an_answer_cut_short_is_not_parsed(serve: Serve) -> None:
    async with serve('{"name": "Paris", "people": 2}') as running:
        with pytest.raises(openai.LengthFinishReasonError) as caught:
            await running.client.chat.completions.parse(
                model="tiny", messages=HI, response_format=City, max_tokens=3
            )

        assert caught.value.completion.choices[0].finish_reason == "length"


async def test_several_answers_stream_side_by_side(serve: Serve) -> None:
    async with serve("One.", "Two.") as running:
        asked = running.client.chat.completions.stream(model="tiny", messages=HI, n=2)
        async with asked as stream:
            [event async for event in stream]
        whole = await stream.get_final_completion()

        assert sorted(choice.message.content or "" for choice in whole.choices) == ["One.", "Two."]
        assert [choice.finish_reason for choice in whole.choices] == ["stop", "stop"]


async def test_models_are_listed_and_got(serve: Serve) -> None:
    async with serve() as running:
        listed = [model async for model in running.client.models.list()]
        got = await running.client.models.retrieve("tiny")

        assert listed == [got]
        assert (got.id, got.object, got.owned_by) == ("tiny", "model", "agentlm")


async def test_a_raw_answer_has_the_requests_id_and_the_trajectorys(serve: Serve) -> None:
    async with serve("Hello.") as running:
        raw = await running.client.chat.completions.with_raw_response.create(
            model="tiny", messages=HI, extra_headers={"x-request-id": "mine"}
        )

        assert raw.request_id == raw.parse()._request_id == "mine"
        assert raw.headers["x-trajectory-id"] == running.trajectories()[0].id


# -- retries -----------------------------------------------------------------------------------


async def test_the_client_tries_again_when_it_is_told_to(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="openai._base_client")
    async with serve(DOWN, "Hello.") as running:
        patient = running.client.with_options(max_retries=1)
        answer = await patient.chat.completions.create(model="tiny", messages=HI)

        assert answer.choices[0].message.content == "Hello."
        waits = [r.getMessage() for r in caplog.records if "Retrying" in r.getMessage()]
        # Of the header, not of the client's own back-off.
        assert waits == ["Retrying request in 1.000000 seconds (retry 1 of 1)"]
        outcomes = {trajectory.outcome for trajectory in running.trajectories()}
        assert outcomes == {Outcome.ERROR, Outcome.COMPLETED}


async def test_the_client_waits_for_a_key_that_is_spent(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="openai._base_client")
    async with serve("Hello.", api_key="root") as running:
        secret = await running.store.keys.create(ApiKey(name="ann", requests_per_minute=60))
        patient = running.client.with_options(api_key=secret, max_retries=2)
        while not caplog.records:
            await patient.models.list()
        answer = await patient.chat.completions.create(model="tiny", messages=HI)

        assert answer.choices[0].message.content == "Hello."
        assert "Retrying request in 1.000000 seconds (retry 1 of 2)" in caplog.messages


async def test_a_request_that_is_wrong_is_not_tried_again(serve: Serve) -> None:
    async with serve() as running:
        patient = running.client.with_options(max_retries=5)
        with pytest.raises(openai.BadRequestError) as caught:
            await patient.chat.completions.create(model="tiny", messages=[])

        assert caught.value.request.headers["x-stainless-retry-count"] == "0"


# -- errors ------------------------------------------------------------------------------------


def test_the_errors_of_a_status_are_those_tested_here() -> None:
    """A new one shows. 422 is never answered: what is wrong with a request is a 400."""
    assert {kind.__name__ for kind in openai.APIStatusError.__subclasses__()} == {
        "BadRequestError",
        "AuthenticationError",
        "PermissionDeniedError",
        "NotFoundError",
        "ConflictError",
        "UnprocessableEntityError",
        "RateLimitError",
        "InternalServerError",
    }


async def raised(awaited: Any, kind: type[openai.APIError]) -> Any:
    with pytest.raises(kind) as caught:
        await awaited
    assert type(caught.value) is kind
    return caught.value


def create(client: AsyncOpenAI, **fields: Any) -> Any:
    return client.chat.completions.create(**{"model": "tiny", "messages": HI, **fields})


async def test_a_wrong_field_is_a_bad_request_error(serve: Serve) -> None:
    async with serve() as running:
        error = await raised(create(running.client, temperature=9), openai.BadRequestError)

        assert (error.param, error.type) == ("temperature", "invalid_request_error")
        assert error.request_id.startswith("req_")


async def test_a_wrong_key_is_an_authentication_error(serve: Serve) -> None:
    async with serve(api_key="right") as running:
        wrong = running.client.with_options(api_key="wrong")
        error = await raised(create(wrong), openai.AuthenticationError)

        assert (error.code, error.type) == ("invalid_api_key", "authentication_error")


async def test_another_host_is_a_permission_denied_error(serve: Serve) -> None:
    async with serve() as running:
        elsewhere = create(running.client, extra_headers={"host": "evil.example"})
        await raised(elsewhere, openai.PermissionDeniedError)


async def test_an_unknown_model_is_a_not_found_error(serve: Serve) -> None:
    async with serve() as running:
        error = await raised(create(running.client, model="gpt-9"), openai.NotFoundError)
        assert (error.code, error.param) == ("model_not_found", "model")
        await raised(running.client.models.retrieve("gpt-9"), openai.NotFoundError)


async def test_a_name_that_is_taken_is_a_conflict_error(serve: Serve) -> None:
    async with serve() as running:
        twice = {"lora_name": "tiny", "lora_path": "/nowhere"}
        asked = running.client.post("/load_lora_adapter", cast_to=object, body=twice)
        error = await raised(asked, openai.ConflictError)

        assert error.param == "lora_name"


async def test_a_failure_of_the_server_is_an_internal_server_error_without_its_words(
    serve: Serve,
) -> None:
    async with serve(RuntimeError("a secret"), DOWN) as running:
        broken = await raised(create(running.client), openai.InternalServerError)
        down = await raised(create(running.client), openai.InternalServerError)

        assert (broken.status_code, down.status_code) == (500, 503)
        assert "secret" not in broken.message
        assert down.code == "unavailable"
        assert broken.request_id.startswith("req_")
        async with httpx.AsyncClient() as http:
            counted = (await http.get(f"{running.url}/metrics")).text
        assert 'agentlm_requests_total{method="POST",status="500"} 1.0' in counted


async def test_an_answer_that_takes_too_long_is_a_timeout_error(serve: Serve) -> None:
    async with serve("word " * 100, delay_s=0.05) as running:
        await raised(create(running.client, timeout=0.1), openai.APITimeoutError)


async def test_a_server_that_is_not_there_is_a_connection_error() -> None:
    async with AsyncOpenAI(base_url="http://127.0.0.1:9", api_key="none", max_retries=0) as client:
        await raised(create(client), openai.APIConnectionError)


async def test_a_stream_that_is_refused_has_the_status_of_its_error(serve: Serve) -> None:
    refused = RequestError("this schema can't be held", param="response_format")
    async with serve(refused, DOWN, RuntimeError("a secret")) as running:
        bad = await raised(create(running.client, stream=True), openai.BadRequestError)
        down = await raised(create(running.client, stream=True), openai.InternalServerError)
        broken = await raised(create(running.client, stream=True), openai.InternalServerError)

        assert (bad.param, bad.response.headers["content-type"]) == (
            "response_format",
            "application/json",
        )
        assert (down.status_code, down.response.headers["retry-after"]) == (503, "1")
        assert broken.status_code == 500
        assert broken.request_id.startswith("req_")
        assert "secret" not in broken.message


async def test_all_choices_of_a_stream_can_be_refused(serve: Serve) -> None:
    async with serve(DOWN, DOWN) as running:
        await raised(create(running.client, stream=True, n=2), openai.InternalServerError)


async def test_the_client_asks_again_for_a_stream(serve: Serve) -> None:
    async with serve(DOWN, "Hello.") as running:
        stream = await create(running.client.with_options(max_retries=1), stream=True)
        deltas = [chunk.choices[0].delta async for chunk in stream]

        assert deltas[0].role == "assistant"
        assert "".join(delta.content or "" for delta in deltas) == "Hello."


async def test_an_error_amid_a_stream_is_raised_by_the_client(serve: Serve) -> None:
    async with serve(BASH_CALL, DOWN) as running:
        stream = await create(running.client, stream=True, tools=[{"type": "bash"}])
        with pytest.raises(openai.APIError, match="the engine is starting again") as caught:
            [chunk async for chunk in stream]

        assert (type(caught.value), caught.value.code) == (openai.APIError, "unavailable")


async def test_a_stream_is_kept_alive_before_its_first_event(serve: Serve) -> None:
    async with serve(DOWN, keep_alive_s=0.01) as running:
        generate, going = running.engine.generate, asyncio.Event()

        async def silent(*arguments: Any, **options: Any) -> AsyncIterator[Delta]:
            await going.wait()
            async for delta in generate(*arguments, **options):
                yield delta

        running.engine.generate = silent  # type: ignore[method-assign, assignment]
        body = {"model": "tiny", "messages": HI, "stream": True}
        async with (
            httpx.AsyncClient() as http,
            http.stream("POST", f"{running.url}/v1/chat/completions", json=body) as response,
        ):
            lines = response.aiter_lines()
            assert await anext(lines) == ": keep-alive"
            going.set()
            data_lines = [line async for line in lines if line.startswith("data:")]

        assert response.status_code == 200
        assert len(data_lines) == 1
        assert "the engine is starting again" in data_lines[0]
