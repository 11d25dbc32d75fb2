"""A request can be long without keeping the others waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from agentlm.server.conversation import long_text
from support.serving import Running, Serve

CHAT = "/v1/chat/completions"
WORDS = "The capital of France is Paris. "


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], **fields}


def tool(description: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "description": description}}


def http(running: Running) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=running.url, timeout=60)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, chat("x" * 10_000_000), "messages"),
        (CHAT, chat("Hi", tools=[tool("x" * 10_000_000)]), "messages"),
        ("/v1/completions", {"model": "tiny", "prompt": "x" * 10_000_000}, "prompt"),
    ],
    ids=["message", "tool", "prompt"],
)
async def test_ten_megabytes_that_no_context_holds_are_refused(
    serve: Serve, path: str, body: Any, param: str
) -> None:
    async with serve() as running, http(running) as client:
        answer = await client.post(path, json=body)

        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("context_length_exceeded", param)
        assert "more than" in error["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat(WORDS * 2_000)),
        (CHAT, chat("Hi", tools=[tool(WORDS * 2_000)])),
        ("/v1/completions", {"model": "tiny", "prompt": WORDS * 2_000}),
        ("/tokenize", {"prompt": WORDS * 2_000}),
    ],
    ids=["message", "tool", "prompt", "tokenize"],
)
async def test_others_are_answered_while_a_long_prompt_is_read(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, path: str, body: Any
) -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Slow(ThreadPoolExecutor):
        def submit(self, work: Callable[[], Any], /) -> Future[Any]:  # type: ignore[override]
            def held() -> Any:
                reading.set()
                assert go_on.wait(30)
                return work()

            return super().submit(held)

    monkeypatch.setattr(long_text, "_THREADS", Slow(4))
    async with serve("Hello.", context=10_000_000) as running, http(running) as client:
        long = asyncio.create_task(client.post(path, json=body))
        assert await asyncio.to_thread(reading.wait, 30)

        assert (await client.get("/version")).status_code == 200
        assert not long.done()
        go_on.set()
        assert (await long).status_code == 200
