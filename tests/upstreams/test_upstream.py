"""A model that another server runs answers through the same loop, tools and log.

The other server is this project's own with a scripted engine; where it has to misbehave, it is one
that only says what a test tells it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from agentlm.exchange import FORMATS
from agentlm.finetune.data.rows import RowMaker, loss_steps
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from agentlm.trajectory import Origin, Outcome, Trajectory
from support.serving import Reply, Running, running

HI: Any = [{"role": "user", "content": "Hi"}]
BASH: Any = [{"type": "bash"}]
LOOKUP: Any = [{"type": "function", "function": {"name": "lookup", "description": "Look it up."}}]
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
CLIENT_CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
FINAL = "Thought: I saw it.\nFinal Answer: Done."

Teach = Callable[..., AbstractAsyncContextManager[tuple[Running, Running]]]


@asynccontextmanager
async def near(directory: Path, url: str, **options: Any) -> AsyncIterator[Running]:
    """A server that serves the upstream at `url` as `teacher`, beside a model of its own."""
    card = ModelCard(name="teacher", source="upstream", location=url, upstream_model="tiny")
    Registry(directory).add(card)
    async with running(directory, (), "chatml", options) as server:
        await server.client.post("/models", cast_to=object, body={"name": "teacher"})
        yield server


@pytest.fixture
def teach(tmp_path: Path) -> Teach:
    """Start the upstream, whose engine gives `replies` in order, and a server that asks it."""

    @asynccontextmanager
    async def start(
        *replies: Reply, delay_s: float = 0.0, **options: Any
    ) -> AsyncIterator[tuple[Running, Running]]:
        async with (
            running(tmp_path, replies, "chatml", {"delay_s": delay_s}) as upstream,
            near(tmp_path / "near", f"{upstream.url}/v1", **options) as server,
        ):
            yield upstream, server

    return start


async def ask(server: Running, **fields: Any) -> Any:
    return await server.client.chat.completions.create(
        **{"model": "teacher", "messages": HI, **fields}
    )


def steps_of(trajectory: Trajectory) -> list[tuple[str, Origin, str]]:
    assert all(step.token_ids is None for step in trajectory.steps)
    return [(step.role, step.origin, step.text) for step in trajectory.steps]


# -- answering -----------------------------------------------------------------------------------


async def test_a_conversation_is_answered_counted_and_recorded_as_text(teach: Teach) -> None:
    async with teach("Hello.", "Bye.") as (upstream, server):
        first = await ask(server)
        first_answer = {"role": "assistant", "content": first.choices[0].message.content}
        await ask(server, messages=[*HI, first_answer, {"role": "user", "content": "Bye"}])

        [trajectory] = server.trajectories()
        counted = upstream.trajectories()[0].interactions[0].usage
        assert steps_of(trajectory) == [
            ("user", Origin.PROMPT, "Hi"),
            ("assistant", Origin.SAMPLED, "Hello."),
            ("user", Origin.PROMPT, "Bye"),
            ("assistant", Origin.SAMPLED, "Bye."),
        ]
        assert (trajectory.model, trajectory.outcome) == ("teacher", Outcome.COMPLETED)
        assert trajectory.steps[1].weights_version == "tiny"
        assert len(trajectory.interactions) == 2
        assert first.usage.completion_tokens == counted.completion_tokens > 0
        assert first.usage.prompt_tokens == counted.prompt_tokens > 0


async def test_deltas_come_as_the_upstream_says_them(teach: Teach) -> None:
    async with teach("One \u2028two three.", delay_s=0.01) as (_, server):
        stream = await ask(server, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]

        parts = [c.choices[0].delta.content for c in chunks if c.choices]
        assert "".join(part or "" for part in parts) == "One \u2028two three."
        assert len([part for part in parts if part]) > 3
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].usage.completion_tokens > 3


@pytest.mark.parametrize("stream", [False, True])
async def test_the_servers_tools_run_in_the_loop(teach: Teach, stream: bool) -> None:
    async with teach(CALL, FINAL) as (upstream, server):
        answer = await ask(server, tools=BASH, stream=stream)
        if stream:
            deltas = [chunk.choices[0].delta async for chunk in answer]
            content = "".join(delta.content or "" for delta in deltas)
            reasoning = "".join(getattr(d, "reasoning_content", None) or "" for d in deltas)
        else:
            message = answer.choices[0].message
            content, reasoning = message.content, message.reasoning_content
            assert message.agent_steps[0]["observation"] == "ran ls"

        [trajectory] = server.trajectories()
        assert content == "Done."
        assert "I look." in reasoning
        assert "Observation: ran ls" in reasoning
        assert server.bash.calls == ["ls"]
        assert steps_of(trajectory) == [
            ("user", Origin.PROMPT, "Hi"),
            ("assistant", Origin.SAMPLED, CALL),
            ("tool", Origin.PROMPT, "Observation: <data>\nran ls\n</data>"),
            ("assistant", Origin.SAMPLED, FINAL),
        ]
        # The upstream was told of a function, and ran nothing itself.
        assert upstream.bash.calls == []
        usage = trajectory.interactions[0].usage
        assert 0 < usage.reasoning_tokens < usage.completion_tokens


async def test_a_clients_tool_is_called_and_its_result_goes_on(teach: Teach) -> None:
    async with teach(CLIENT_CALL, FINAL) as (_, server):
        first = await ask(server, tools=LOOKUP, tool_choice="required")
        message = first.choices[0].message
        [call] = message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": "42"}
        sent_back = message.model_dump(
            exclude={"reasoning", "reasoning_content", "agent_steps"}, exclude_none=True
        )
        second = await ask(server, tools=LOOKUP, messages=[*HI, sent_back, result])

        [trajectory] = server.trajectories()
        assert first.choices[0].finish_reason == "tool_calls"
        assert (call.function.name, json.loads(call.function.arguments)) == ("lookup", {"key": "a"})
        assert second.choices[0].message.content == "Done."
        assert len(trajectory.interactions) == 2
        assert trajectory.outcome is Outcome.COMPLETED


async def test_the_last_turn_is_made_an_answer(teach: Teach) -> None:
    async with teach(CALL, "Done.", max_turns=2) as (upstream, server):
        answer = await ask(server, tools=BASH)

        assert answer.choices[0].message.content == "Done."
        assert server.trajectories()[0].outcome is Outcome.LIMIT
        assert upstream.engine.requests[-1].constraint is None


async def test_what_was_asked_for_is_passed_on_and_nothing_else(teach: Teach) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    async with teach('{"a": 1}', '{"a": 2}') as (upstream, server):
        answer = await ask(
            server, n=2, seed=7, temperature=0.5, max_tokens=20, response_format=form
        )

        asked = upstream.engine.requests
        assert sorted(each.sampling.seed for each in asked) == [7, 8]
        assert {each.sampling.temperature for each in asked} == {0.5}
        assert {each.max_tokens for each in asked} == {20}
        assert {each.sampling.top_p for each in asked} == {1.0}
        assert json.loads(asked[0].constraint.json_schema) == schema
        assert sorted(c.message.content for c in answer.choices) == ['{"a": 1}', '{"a": 2}']


async def test_what_needs_token_ids_is_refused(teach: Teach) -> None:
    async with teach() as (_, server):
        with pytest.raises(openai.BadRequestError, match="does not tell its tokens") as caught:
            await ask(server, logprobs=True)
        assert caught.value.param == "logprobs"
        with pytest.raises(openai.BadRequestError, match="does not tell its tokens"):
            await server.client.completions.create(model="teacher", prompt="Hi")


async def test_a_client_that_goes_away_cancels_the_upstreams_work(teach: Teach) -> None:
    async with teach("word " * 200, delay_s=0.02) as (upstream, server):
        stream = await ask(server, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        for each in (server, upstream):
            for _ in range(500):
                if each.trajectories():
                    break
                await asyncio.sleep(0.01)
            [trajectory] = each.trajectories()
            assert trajectory.outcome is Outcome.CANCELLED
            assert 0 < len(trajectory.steps[-1].text) < 100


async def test_it_can_be_listed_and_stopped_being_served(teach: Teach) -> None:
    async with teach() as (_, server):
        listed = [model.id async for model in server.client.models.list()]
        await server.client.models.delete("teacher")

        assert listed == ["tiny", "teacher"]
        with pytest.raises(openai.NotFoundError):
            await ask(server)


async def test_its_answers_are_rows_to_train_on(teach: Teach) -> None:
    async with teach(CALL, FINAL) as (_, server):
        await ask(server, tools=BASH)
        [trajectory] = server.trajectories()

        renderer = server.served.renderer
        row: Any = RowMaker(renderer, 4096).row(
            trajectory, loss_steps(trajectory, 1.0, unjudged=True)
        )
        learned = [token for token, loss in zip(row.ids, row.loss, strict=True) if loss]
        text = renderer.decode_verbatim(learned)
        assert text == f"{CALL}<|im_end|>{FINAL}<|im_end|>"
        assert "You can use these tools:\n- bash" in renderer.decode_verbatim(row.ids)
        exported = FORMATS["openai"].write(trajectory)["messages"]
        assert exported[1]["tool_calls"][0]["function"]["name"] == "bash"
        assert exported[-1]["content"] == "Done."


# -- failing -------------------------------------------------------------------------------------

CHAT = "/v1/chat/completions"
CHUNK = {"choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": None}]}
LAST = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def events(*chunks: Any) -> Response:
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return Response(text, content_type="text/event-stream")


def error(status: int, message: str = "no", **headers: str) -> Response:
    body = {"error": {"message": message, "type": "t", "param": "top_p", "code": "some_code"}}
    return Response(json.dumps(body), status, headers=headers, content_type="application/json")


async def failed(directory: Path, httpserver: HTTPServer, **options: Any) -> Any:
    """The error that a client gets, and the outcome in the log."""
    async with near(directory / "near", httpserver.url_for("/v1"), **options) as server:
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(server)
        [trajectory] = server.trajectories()
        assert trajectory.outcome is Outcome.ERROR
        return caught.value


async def test_too_many_requests_are_told_with_the_time_to_wait(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    httpserver.expect_request(CHAT).respond_with_response(error(429, **{"retry-after": "77"}))
    caught = await failed(tmp_path, httpserver)

    assert isinstance(caught, openai.RateLimitError)
    assert caught.response.headers["retry-after"] == "77"
    assert len(httpserver.log) == 1


async def test_a_short_wait_is_waited(tmp_path: Path, httpserver: HTTPServer) -> None:
    for answer in (error(429, **{"retry-after": "0"}), error(503, **{"retry-after": "0"})):
        httpserver.expect_ordered_request(CHAT).respond_with_response(answer)
    httpserver.expect_ordered_request(CHAT).respond_with_response(events(CHUNK, LAST))
    async with near(tmp_path / "near", httpserver.url_for("/v1")) as server:
        answer = await ask(server)

        assert answer.choices[0].message.content == "Hello."
        assert answer.usage.completion_tokens == 1


async def test_it_is_not_asked_for_ever(tmp_path: Path, httpserver: HTTPServer) -> None:
    answer = error(500, "out of order", **{"retry-after": "0"})
    httpserver.expect_request(CHAT).respond_with_response(answer)
    caught = await failed(tmp_path, httpserver)

    assert caught.status_code == 503
    assert "out of order" in caught.message
    assert len(httpserver.log) == 3


async def test_a_refused_key_is_the_operators_matter_and_is_not_told(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    httpserver.expect_request(CHAT).respond_with_response(error(401, "wrong key: sk-secret"))
    caught = await failed(tmp_path, httpserver)

    assert caught.status_code == 503
    assert "sk-secret" not in caught.message


async def test_what_is_wrong_with_a_request_is_told(tmp_path: Path, httpserver: HTTPServer) -> None:
    httpserver.expect_request(CHAT).respond_with_response(error(400, "top_p is too high"))
    caught = await failed(tmp_path, httpserver)

    assert isinstance(caught, openai.BadRequestError)
    assert (caught.param, caught.code) == ("top_p", "some_code")
    assert "top_p is too high" in caught.message


async def test_a_refusal_that_nests_without_end_is_still_one(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    httpserver.expect_request(CHAT).respond_with_response(Response("[" * 100_000, 400))
    caught = await failed(tmp_path, httpserver)

    assert isinstance(caught, openai.BadRequestError)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (events(CHUNK), "in the middle"),
        (events(CHUNK, {"error": {"message": "overloaded"}}), "overloaded"),
        (events(["no chunk"]), "can't be understood"),
        (Response("<html>", content_type="text/html"), "in the middle"),
    ],
)
async def test_a_broken_answer_is_none(
    tmp_path: Path, httpserver: HTTPServer, answer: Response, reason: str
) -> None:
    httpserver.expect_request(CHAT).respond_with_response(answer)
    caught = await failed(tmp_path, httpserver)

    assert caught.status_code == 503
    assert reason in caught.message


async def test_silence_is_given_up(tmp_path: Path) -> None:
    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(hold, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/v1"
    async with near(tmp_path / "near", url, upstream_timeout_s=0.2) as server:
        with pytest.raises(openai.InternalServerError, match="did not answer in time"):
            await ask(server)
    for writer in held:
        writer.close()
    silent.close()


@pytest.mark.parametrize("role", ["system", "assistant"])
async def test_whose_message_comes_last_is_the_upstreams_matter(
    tmp_path: Path, httpserver: HTTPServer, role: str
) -> None:
    httpserver.expect_request(CHAT).respond_with_response(events(CHUNK, LAST))
    messages = [*HI, {"role": role, "content": "One."}]
    async with near(tmp_path / "near", httpserver.url_for("/v1")) as server:
        answer = await ask(server, messages=messages)

    assert answer.choices[0].message.content == "Hello."
    assert httpserver.log[0][0].get_json()["messages"] == messages


async def test_an_upstream_that_is_not_there_is_told_before_a_stream_begins(tmp_path: Path) -> None:
    async with near(tmp_path / "near", "http://127.0.0.1:9/v1") as server:
        with pytest.raises(openai.InternalServerError, match="can't be reached") as caught:
            await ask(server, stream=True)

        assert caught.value.status_code == 503


async def test_a_stream_that_the_upstream_refuses_has_its_status(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    many, bad = error(429, **{"retry-after": "77"}), error(400, "top_p is too high")
    httpserver.expect_ordered_request(CHAT).respond_with_response(many)
    httpserver.expect_ordered_request(CHAT).respond_with_response(bad)
    async with near(tmp_path / "near", httpserver.url_for("/v1")) as server:
        with pytest.raises(openai.RateLimitError) as caught:
            await ask(server, stream=True)
        with pytest.raises(openai.BadRequestError, match="top_p is too high"):
            await ask(server, stream=True)

        assert caught.value.response.headers["retry-after"] == "77"


# -- the key -------------------------------------------------------------------------------------


async def test_the_key_comes_from_the_named_variable_and_is_kept_nowhere(
    tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_request(CHAT).respond_with_response(events(CHUNK, LAST))
    card = ModelCard(
        name="keyed", source="upstream", location=httpserver.url_for("/v1"), api_key_env="FAR_KEY"
    )
    Registry(tmp_path).add(card)
    async with running(tmp_path, (), "chatml", {}) as server:
        publish = {"cast_to": object, "body": {"name": "keyed"}}
        with pytest.raises(openai.BadRequestError, match="FAR_KEY"):
            await server.client.post("/models", **publish)
        monkeypatch.setenv("FAR_KEY", "sk-of-the-upstream")
        await server.client.post("/models", **publish)
        await ask(server, model="keyed")

    [(request, _)] = httpserver.log
    assert request.headers["authorization"] == "Bearer sk-of-the-upstream"
    assert "sk-of-the-upstream" not in kept_in(tmp_path)


def kept_in(directory: Path) -> str:
    files = (path for path in directory.rglob("*") if path.is_file())
    return "".join(path.read_text(errors="replace") for path in files)
