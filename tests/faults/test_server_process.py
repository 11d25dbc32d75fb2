"""A server process that is killed, starved or told to stop: what was answered is in the log."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlm.server.vllm.launch import allow_many_connections
from agentlm.store import Selection, Store
from agentlm.trajectory import Outcome, Trajectory
from support.server_process import hard, started

HI: Any = [{"role": "user", "content": "Hi"}]
PLAIN = {"model": "tiny", "messages": HI}
AGENT = {"model": "tiny:agent", "messages": HI}
Answers = dict[str, str]


async def test_twenty_kills_under_load_lose_nothing_that_was_answered(tmp_path: Path) -> None:
    chance = random.Random(7)
    answers: Answers = {}
    for _ in range(20):
        with started(tmp_path) as (server, url):
            await asked_until_killed(server, url, answers, chance.randrange(1, 20))

    assert_recorded(tmp_path, answers)
    assert len(answers) > 100


async def test_told_to_stop_it_finishes_what_runs_and_takes_nothing_new(tmp_path: Path) -> None:
    with started(tmp_path, delay_s=0.02) as (server, url):
        async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as http:
            lines = await begin(http)
            server.terminate()
            await refused(url)
            rest = "".join([line async for line in lines])
        server.join(10)

        assert rest.endswith("data: [DONE]")
        assert server.exitcode == 0
    [trajectory] = log(tmp_path)
    assert trajectory.outcome is Outcome.COMPLETED
    assert trajectory.interactions[0].response.content.strip() == "Done."


@pytest.mark.parametrize("stream", [True, False])
async def test_what_outlasts_the_time_to_finish_is_recorded_as_cancelled(
    tmp_path: Path, stream: bool
) -> None:
    with started(tmp_path, delay_s=0.2, drain_s=1) as (server, url):
        async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as http:
            asked = asyncio.create_task(ask(http, {**AGENT, "stream": stream}))
            await running(http, 1)
            server.terminate()
            with pytest.raises(AssertionError, match="the server is stopping"):
                await asked
        server.join(10)

        assert server.exitcode == 0
    [trajectory] = log(tmp_path)
    assert trajectory.outcome is Outcome.CANCELLED
    assert trajectory.interactions[0].finish_reason is None


async def test_told_to_stop_it_ends_a_streamed_response_as_failed(tmp_path: Path) -> None:
    body = {"model": "tiny:agent", "input": "Hi", "stream": True}
    with started(tmp_path, delay_s=0.2, drain_s=1) as (server, url):
        async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as http:
            asked = asyncio.create_task(http.post("/v1/responses", json=body))
            await running(http, 1)
            await asyncio.sleep(0.5)
            server.terminate()
            events = (await asked).text
        server.join(10)

    *_, last, end = [line for line in events.splitlines() if line.startswith("data: ")]
    assert end == "data: [DONE]"
    failed = json.loads(last.removeprefix("data: "))
    assert failed["type"] == "response.failed"
    assert "the server is stopping" in failed["response"]["error"]["message"]


async def test_killed_it_leaves_a_response_in_the_background_failed_with_what_was_done(
    tmp_path: Path,
) -> None:
    body = {"model": "tiny:agent", "input": "Hi", "background": True}
    with started(tmp_path, delay_s=0.2) as (server, url):
        async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as http:
            path = "/v1/responses/" + (await http.post("/v1/responses", json=body)).json()["id"]
            stream = asyncio.create_task(http.get(f"{path}?stream=true"))
            for _ in range(300):
                if (await http.get(path)).json()["output"]:
                    break
                await asyncio.sleep(0.1)
            server.kill()
            with pytest.raises(httpx.TransportError):
                await stream
    with started(tmp_path) as (server, url):
        async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as http:
            events = (await http.get(f"{path}?stream=true")).text
            answer = (await http.get(path)).json()
            again = await http.post("/v1/responses", json={**body, "background": False})

    assert (answer["status"], answer["error"]["code"]) == ("failed", "server_error")
    assert answer["output"][0]["type"] == "reasoning"
    *_, last, end = [line for line in events.splitlines() if line.startswith("data: ")]
    assert end == "data: [DONE]"
    assert json.loads(last.removeprefix("data: ")) | {"sequence_number": 0} == {
        "type": "response.failed",
        "sequence_number": 0,
        "response": answer,
    }
    assert again.json()["status"] == "completed"


async def test_killed_it_leaves_a_conversation_that_is_soon_free(tmp_path: Path) -> None:
    body: dict[str, Any] = {"model": "tiny:agent", "input": "Hi"}
    with started(tmp_path, delay_s=0.2) as (server, url):
        async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as http:
            named = (await http.post("/v1/conversations", json={})).json()["id"]
            body["conversation"] = named
            streamed = asyncio.create_task(
                http.post("/v1/responses", json={**body, "stream": True})
            )
            await running(http, 1)
            assert (await http.post("/v1/responses", json=body)).status_code == 409
            server.kill()
            with pytest.raises(httpx.TransportError):
                await streamed
    with started(tmp_path) as (server, url):
        async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as http:
            for _ in range(60):
                answer = await http.post("/v1/responses", json=body)
                if answer.status_code != 409:
                    break
                await asyncio.sleep(1)
            items = (await http.get(f"/v1/conversations/{named}/items?order=asc")).json()["data"]

    assert answer.json()["status"] == "completed"
    texts = [item["content"][0]["text"].strip() for item in items if item["type"] == "message"]
    assert texts == ["Hi", "Done."]


async def test_two_thousand_idle_connections_leave_it_answering(tmp_path: Path) -> None:
    allow_many_connections()
    if hard(resource.RLIMIT_NOFILE) < 2100:
        pytest.skip("this machine allows too few open files")
    with started(tmp_path, open_files=256) as (_, url):
        port = int(url.rpartition(":")[2])
        async with AsyncExitStack() as stack:
            for _ in range(2000):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                stack.callback(writer.close)
            async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as http:
                assert (await ask(http, {**AGENT, "stream": True}))[1].strip() == "Done."


async def test_a_full_disk_is_an_error_until_there_is_room_and_loses_no_answer(
    tmp_path: Path,
) -> None:
    answers: Answers = {}
    much = {f"part {number}": "x" * 512 for number in range(16)}
    big = {**PLAIN, "metadata": much, "stream": False}
    with started(tmp_path, file_bytes=1_500_000) as (server, url):
        async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as http:
            with pytest.raises(AssertionError, match="unavailable"):
                await ask_for_ever(http, big, answers)
            with pytest.raises(AssertionError, match="unavailable"):
                await ask(http, {**big, "stream": True})
            assert server.pid is not None
            os.kill(server.pid, signal.SIGUSR1)
            answers.update([await ask(http, big)])

    assert_recorded(tmp_path, answers)
    assert len(answers) > 1


async def asked_until_killed(server: BaseProcess, url: str, answers: Answers, after: int) -> None:
    """Have eight clients ask all the time, over both APIs; kill the server when it has answered so
    often."""
    wanted = len(answers) + after

    async def client(http: httpx.AsyncClient, number: int) -> None:
        while True:
            body = {**(AGENT if number % 2 else PLAIN), "stream": number % 4 > 1}
            identity, text = await (respond if number % 8 > 3 else ask)(http, body)
            answers[identity] = text
            if len(answers) == wanted:
                server.kill()
            number += 1

    async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as http:
        for ended in asyncio.as_completed([client(http, number) for number in range(8)]):
            with suppress(httpx.TransportError):
                await ended


async def ask_for_ever(http: httpx.AsyncClient, body: Any, answers: Answers) -> None:
    while True:
        answers.update([await ask(http, body)])


async def ask(http: httpx.AsyncClient, body: Any) -> tuple[str, str]:
    """A completion's id and text, once its `finish_reason` is there."""
    if not body["stream"]:
        answer = (await http.post("/v1/chat/completions", json=body)).json()
        assert "error" not in answer, answer
        return answer["id"], answer["choices"][0]["message"]["content"]
    text = ""
    async with http.stream("POST", "/v1/chat/completions", json=body) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                assert "error" not in chunk, chunk
                text += chunk["choices"][0]["delta"].get("content", "")
                if chunk["choices"][0]["finish_reason"]:
                    return chunk["id"], text
    raise httpx.RemoteProtocolError("the stream ended before it was finished")


async def respond(http: httpx.AsyncClient, body: Any) -> tuple[str, str]:
    """The same over the Responses API, once its last event is there."""
    asked = {"model": body["model"], "input": "Hi", "stream": body["stream"]}
    if not body["stream"]:
        return spelt_as_in_chat((await http.post("/v1/responses", json=asked)).json())
    async with http.stream("POST", "/v1/responses", json=asked) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                assert event["type"] not in ("response.failed", "error"), event
                if event["type"] == "response.completed":
                    return spelt_as_in_chat(event["response"])
    raise httpx.RemoteProtocolError("the stream ended before it was finished")


def spelt_as_in_chat(response: Any) -> tuple[str, str]:
    assert response["status"] == "completed", response
    message = response["output"][-1]
    return response["id"].replace("resp_", "chatcmpl-"), message["content"][0]["text"]


async def begin(http: httpx.AsyncClient) -> AsyncIterator[str]:
    """The lines of a streamed run of the agent that has begun."""

    async def lines() -> AsyncIterator[str]:
        body = {**AGENT, "stream": True}
        async with http.stream("POST", "/v1/chat/completions", json=body) as stream:
            async for line in stream.aiter_lines():
                yield line

    begun = lines()
    await anext(begun)
    return begun


async def running(http: httpx.AsyncClient, choices: int) -> None:
    """Wait until so many choices run."""
    for _ in range(500):
        if f"agentlm_running {choices}.0" in (await http.get("/metrics")).text:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nothing runs")


async def refused(url: str) -> None:
    """Wait until no connection is taken."""
    async with asyncio.timeout(10):
        with suppress(httpx.TransportError):
            while True:
                async with httpx.AsyncClient(verify=False) as http:
                    await http.get(f"{url}/health")


def log(directory: Path) -> list[Trajectory]:
    with closing(Store.open(f"sqlite:///{directory / 'agentlm.db'}")) as store:
        return list(store.select(Selection()))


def assert_recorded(directory: Path, answers: Answers) -> None:
    with closing(Store.open(f"sqlite:///{directory / 'agentlm.db'}")) as store:
        for identity, text in answers.items():
            [interaction] = store.by_completion(identity, None)
            assert interaction.finish_reason == "stop"
            assert interaction.response.content.strip() == text.strip()
        for trajectory in store.select(Selection()):
            assert trajectory.outcome in (Outcome.COMPLETED, Outcome.RUNNING)
