"""Responses over a WebSocket: one after another, and the last one is remembered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from agentlm.store import ApiKey
from agentlm.trajectory import Outcome, Trajectory
from support.serving import Running, Serve

BASH: Any = {"type": "bash"}
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
FINAL = "Thought: I know.\nFinal Answer: Done."
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}


@asynccontextmanager
async def connected(running: Running, **headers: str) -> AsyncIterator[ClientConnection]:
    url = running.url.replace("http", "ws") + "/v1/responses"
    async with connect(url, additional_headers=headers, open_timeout=60) as socket:
        yield socket


async def turn(socket: ClientConnection, **fields: Any) -> dict[str, Any]:
    """Ask, and read to the last event; each but errors is checked against the openai package's."""
    await socket.send(json.dumps({"type": "response.create", "model": "tiny", **fields}))
    kind: Any = ResponseStreamEvent
    while True:
        text = await socket.recv()
        event: dict[str, Any] = json.loads(text)
        if event["type"] == "error":
            return event
        TypeAdapter(kind).validate_json(text, strict=True)
        if event["type"] in ("response.completed", "response.incomplete", "response.failed"):
            return event


async def test_what_is_not_kept_goes_on_by_its_id_with_identical_ids(serve: Serve) -> None:
    async with serve(*[CALL, FINAL, FINAL] * 2) as running:
        for kept in (True, False):
            ask: Any = {"tools": [BASH], "store": kept}
            async with connected(running) as socket:
                first = await turn(socket, input="Hi", **ask)
                named = first["response"]["id"]
                second = await turn(socket, input="More", previous_response_id=named, **ask)
            assert second["response"]["status"] == "completed"
        prompts = [request.prompt_ids for request in running.engine.requests]
        kept_one, *apart = running.trajectories()

    assert prompts[:3] == prompts[3:]
    assert len(kept_one.interactions) == len(apart) == 2
    assert {step.text for trajectory in apart for step in trajectory.steps} == {""}


async def test_another_connection_does_not_remember_and_a_failure_forgets(serve: Serve) -> None:
    async with serve("One.", "Two.", "Three.") as running:
        async with connected(running) as socket:
            first = (await turn(socket, input="a", store=False))["response"]["id"]
        async with connected(running) as socket:
            missed = await turn(socket, input="b", store=False, previous_response_id=first)
            second = (await turn(socket, input="c", store=False))["response"]["id"]
            go_on: Any = {"store": False, "previous_response_id": second}
            failed = await turn(socket, input=[OUTPUT], **go_on)
            stale = await turn(socket, input="d", **go_on)

    assert missed["error"]["code"] == stale["error"]["code"] == "previous_response_not_found"
    assert (failed["status"], failed["error"]["param"]) == (400, "input[0].call_id")
    assert failed["error"]["code"]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("[", None),
        ("[]", "type"),
        ('{"type": "session.update"}', "type"),
        ('{"type": "response.create"}', "model"),
        ('{"type": "response.create", "model": "tiny", "input": "a", "stream": true}', "stream"),
        (
            '{"type": "response.create", "model": "tiny", "input": "a", "background": true}',
            "background",
        ),
    ],
)
async def test_a_wrong_message_is_named_and_the_connection_stays(
    serve: Serve, message: str, param: str | None
) -> None:
    async with serve("One.") as running, connected(running) as socket:
        await socket.send(message)
        event = json.loads(await socket.recv())
        answer = await turn(socket, input="a")

    assert (event["type"], event["status"], event["error"]["param"]) == ("error", 400, param)
    assert answer["type"] == "response.completed"


async def test_a_message_that_no_request_could_be_ends_the_connection(serve: Serve) -> None:
    async with serve("One.", max_request_mb=1) as running:
        async with connected(running) as socket:
            assert socket.protocol.extensions == []  # packed, it could be any number of bytes
            with pytest.raises(ConnectionClosedError, match="1009"):
                await turn(socket, input="a" * 1_100_000)
        async with connected(running) as socket:
            assert (await turn(socket, input="a"))["type"] == "response.completed"


async def test_who_leaves_ends_what_runs(serve: Serve) -> None:
    async with serve(CALL.replace("ls", "hang")) as running:
        async with connected(running) as socket:
            body = {"type": "response.create", "model": "tiny", "input": "a", "tools": [BASH]}
            await socket.send(json.dumps(body))
            await running.bash.hanging.wait()
        await asyncio.wait_for(running.bash.cancelled.wait(), 30)
        trajectory = await ended(running)

    assert trajectory.outcome is Outcome.CANCELLED


async def test_who_reads_nothing_is_let_go_and_what_runs_for_it_ends(serve: Serve) -> None:
    async with serve("One.", "Two.", request_wait_s=1) as running:
        async with connected(running) as client:
            client.transport.pause_reading()
            # Each event of a whole response repeats it: more than kernels keep.
            body = {"model": "tiny", "input": "a", "prompt_cache_key": "k" * (6 << 20)}
            await client.send(json.dumps({"type": "response.create", **body}))
            trajectory = await ended(running)
        async with connected(running) as client:
            assert (await turn(client, input="b"))["type"] == "response.completed"

    assert trajectory.outcome is Outcome.CANCELLED


async def ended(running: Running) -> Trajectory:
    """The one there is, once its run has ended."""
    for _ in range(500):
        for trajectory in running.trajectories():
            if trajectory.interactions:
                return trajectory
        await asyncio.sleep(0.02)
    raise AssertionError("it runs on")


async def test_nobody_without_a_key_gets_in_and_a_revoked_one_goes(serve: Serve) -> None:
    async with serve("One.", "Two.", api_key="boss") as running:
        secret = await running.store.keys.create(ApiKey(name="ann"))
        for headers in ({}, {"authorization": "Bearer wrong"}):
            with pytest.raises(InvalidStatus):
                async with connected(running, **headers):
                    pass
        async with connected(running, authorization=f"Bearer {secret}") as socket:
            answered = await turn(socket, input="a")
            await running.store.keys.revoke("ann")
            refused = await turn(socket, input="b")

    assert answered["type"] == "response.completed"
    assert refused["error"]["message"] == "a valid API key is needed"


async def test_no_web_page_gets_in_without_keys(serve: Serve) -> None:
    async with serve() as running:
        for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
            with pytest.raises(InvalidStatus):
                async with connected(running, **headers):
                    pass
