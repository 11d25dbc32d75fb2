"""Whatever is sent, the answer is an error object that names what is wrong, and nothing breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from agentlm.errors import OperatorError, UnavailableError
from agentlm.server.callers import check_strangers_need_a_key
from agentlm.server.settings import ServeSettings
from agentlm.store import Store
from agentlm.trajectory import Outcome
from support.serving import Running, Serve

HI = [{"role": "user", "content": "Hi"}]
GOOD: dict[str, Any] = {"model": "tiny", "messages": HI}
BASH_FN = {"type": "function", "function": {"name": "bash"}}
UNHELD = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
NO_SCHEMA = {"type": "json_schema", "json_schema": {"name": "it"}}
LOST_RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "42"}
IMAGE = [{"type": "image_url", "image_url": {"url": "data:,"}}]


def function(parameters: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters, **more}}


def held_to(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}


async def post(running: Running, body: Any, path: str = "/v1/chat/completions") -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(running.url + path, json=body)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": IMAGE}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages[0].tool_call_id"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 9}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 2, "tools": [{"type": "bash"}]}, "n"),
        ({"stop": ""}, "stop"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"tools": [{"type": "teleport"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "bash"}, BASH_FN]}, "tools[1].function.name"),
        ({"tools": [BASH_FN, BASH_FN]}, "tools[1].function.name"),
        ({"tools": [function({"type": "string"})]}, "tools[0].function.parameters"),
        ({"tools": [function(UNHELD, strict=True)]}, "tools[0].function.parameters"),
        ({"tools": [BASH_FN], "response_format": held_to(UNHELD)}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": NO_SCHEMA}, "response_format.json_schema.schema"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"metadata": {str(key): "a" for key in range(17)}}, "metadata"),
        ({"metadata": {"a": "a" * 513}}, "metadata.a"),
        ({"audio": {"voice": "a"}}, "audio"),
        ({"temprature": 1}, "temprature"),
        ({"reasoning_effort": "banana"}, "reasoning_effort"),
        ({"verbosity": "banana"}, "verbosity"),
        ({"service_tier": "banana"}, "service_tier"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "system", "content": None}, *HI]}, "messages[0].content"),
        ({"messages": [*HI, LOST_RESULT]}, "messages[1].tool_call_id"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stop": list("abcde")}, "stop"),
        ({"top_k": -2}, "top_k"),
        ({"min_p": 1.5}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]"),
        ({"priority": 1}, "priority"),
        ({"truncate_prompt_tokens": 10}, "truncate_prompt_tokens"),
    ],
)
async def test_a_wrong_field_is_named(serve: Serve, change: dict[str, Any], param: str) -> None:
    async with serve() as running:
        answer = await post(running, {**GOOD, **change})

        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["param"], error["type"]) == (param, "invalid_request_error")
        assert running.trajectories() == []


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"type": "string"}, "the type of the tool 'f' must be 'object', got 'string'"),
        ({"properties": []}, "properties of the tool 'f' must be an object, got list"),
        ({"required": "a"}, "required of the tool 'f' must be a list, got str"),
    ],
)
async def test_an_error_in_a_tools_schema_names_the_tool(
    serve: Serve, parameters: Any, words: str
) -> None:
    async with serve() as running:
        answer = await post(running, {**GOOD, "tools": [function(parameters)]})

        assert words in answer.json()["error"]["message"]


async def test_a_misspelt_field_gets_a_hint(serve: Serve) -> None:
    async with serve() as running:
        answer = await post(running, {**GOOD, "temprature": 1})

        assert "'temperature'" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b"{}"])
async def test_a_body_that_is_no_request_is_refused(serve: Serve, body: bytes) -> None:
    async with serve() as running, httpx.AsyncClient() as client:
        answer = await client.post(
            f"{running.url}/v1/chat/completions",
            content=body,
            headers={"content-type": "application/json"},
        )

        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


async def test_an_unknown_model_is_not_found(serve: Serve) -> None:
    async with serve() as running:
        with pytest.raises(openai.NotFoundError) as caught:
            await running.client.chat.completions.create(model="gpt-9", messages=HI)  # type: ignore[arg-type]

        assert caught.value.code == "model_not_found"


async def test_messages_over_the_context_are_refused(serve: Serve) -> None:
    async with serve(context=64) as running:
        answer = await post(running, {**GOOD, "messages": [{"role": "user", "content": "x " * 99}]})

        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == "context_length_exceeded"
        assert error["message"].startswith("This model's maximum context length is 64 tokens. ")


async def test_a_large_body_is_refused(serve: Serve) -> None:
    async with serve(max_request_mb=1) as running:
        answer = await post(running, {**GOOD, "user": "x" * 2**21})

        assert answer.status_code == 413


async def chunked(body: bytes) -> AsyncIterator[bytes]:
    """Sent without saying how long it is."""
    yield body


async def test_a_web_page_can_not_drive_the_server(serve: Serve) -> None:
    async with serve() as running, httpx.AsyncClient() as client:
        url = f"{running.url}/v1/chat/completions"
        elsewhere = await client.post(url, json=GOOD, headers={"host": "evil.example"})
        for body in (b"{}", chunked(b"{}")):
            form = await client.post(url, content=body, headers={"content-type": "text/plain"})
            assert form.status_code == 415

        assert elsewhere.status_code == 403


async def test_without_the_key_only_health_answers(serve: Serve) -> None:
    async with serve("Hello.", api_key="secret") as running:
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{running.url}/health")).status_code == 200
            assert (await client.get(f"{running.url}/v1/models")).status_code == 401
            assert (await client.get(f"{running.url}/v1/trajectories")).status_code == 401
        await running.client.chat.completions.create(model="tiny", messages=HI)  # type: ignore[arg-type]


def test_other_machines_need_a_key(tmp_path: Path) -> None:
    settings = ServeSettings(host="0.0.0.0", data_dir=tmp_path)
    with (
        closing(Store.open(settings.log_url())) as store,
        pytest.raises(OperatorError, match="--api-key"),
    ):
        check_strangers_need_a_key(settings, store)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_is_down_is_503_streamed_or_not(serve: Serve, stream: bool) -> None:
    async with serve(UnavailableError("the engine is starting again")) as running:
        answer = await post(running, {**GOOD, "stream": stream})

        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"]["message"] == "the engine is starting again"
        [trajectory] = running.trajectories()
        assert trajectory.outcome is Outcome.ERROR


async def test_a_tool_that_breaks_ends_the_run_as_an_error_without_its_insides(
    serve: Serve,
) -> None:
    crash = 'Thought: t\nAction: bash\nAction Input: {"command": "crash"}'
    async with serve(crash) as running:
        answer = await post(running, {**GOOD, "tools": [{"type": "bash"}]})

        assert answer.status_code == 500
        assert "fire" not in answer.text
        [trajectory] = running.trajectories()
        assert trajectory.outcome is Outcome.ERROR
        assert trajectory.steps[-1].call is not None


async def test_feedback_out_of_range_or_for_nothing_is_refused(serve: Serve) -> None:
    async with serve("Hello.") as running:
        await post(running, GOOD)
        identity = running.trajectories()[0].id
        path = f"/v1/trajectories/{identity}/feedback"

        assert (await post(running, {"value": 3}, path)).json()["error"]["param"] == "value"
        assert (await post(running, {}, path)).status_code == 400
        missing = await post(running, {"value": 1}, "/v1/trajectories/traj_x/feedback")
        assert missing.status_code == 404
        shortened = await post(running, {"value": 1}, f"/v1/trajectories/{identity[:13]}/feedback")
        assert "whole id" in shortened.json()["error"]["message"]
        other = await post(running, {"value": 1, "completion_id": "chatcmpl-x"}, path)
        assert other.json()["error"]["param"] == "completion_id"


async def test_unknown_routes_are_error_objects(serve: Serve) -> None:
    async with serve() as running, httpx.AsyncClient() as client:
        answer = await client.get(f"{running.url}/v1/nothing")

        assert answer.status_code == 404
        assert answer.json()["error"]["message"]
