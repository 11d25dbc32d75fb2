"""Stored completions, and requests that must have one effect, by the stock client."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest

from support.serving import Serve

HI: Any = [{"role": "user", "content": "Hi"}]
BASH: Any = [{"type": "bash"}]
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
FINAL = "Thought: t\nFinal Answer: Done."
KEY = {"Idempotency-Key": "order-7"}


async def test_stored_completions_are_listed_tagged_and_deleted(serve: Serve) -> None:
    async with serve("One.", "Two.", "Three.") as running:
        stored = running.client.chat.completions
        one = await stored.create(model="tiny", messages=HI, store=True, metadata={"a": "x"})
        two = await stored.create(model="tiny", messages=HI, store=True, metadata={"a": "y"})
        await stored.create(model="tiny", messages=HI)

        assert [each.id async for each in stored.list()] == [one.id, two.id]
        assert [each.id async for each in stored.list(metadata={"a": "y"})] == [two.id]
        assert [each.id async for each in stored.list(order="desc", limit=1)] == [two.id, one.id]
        assert (await stored.retrieve(one.id)).choices[0].message.content == "One."
        assert [each.content async for each in stored.messages.list(one.id)] == ["Hi"]
        await stored.update(one.id, metadata={"a": "z"})
        assert [each.id async for each in stored.list(metadata={"a": "z"})] == [one.id]
        assert (await stored.delete(two.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await stored.retrieve(two.id)


async def test_a_key_runs_a_request_once(serve: Serve) -> None:
    async with serve(CALL, FINAL) as running:
        create = running.client.chat.completions.create
        first = await create(model="tiny", messages=HI, tools=BASH, extra_headers=KEY)
        second = await create(model="tiny", messages=HI, tools=BASH, extra_headers=KEY)

        assert first == second
        assert running.bash.calls == ["ls"]


async def test_a_stream_is_replayed_whole(serve: Serve) -> None:
    async with serve(CALL, FINAL) as running:
        create = running.client.chat.completions.create
        seen = []
        for _ in range(2):
            stream = await create(
                model="tiny", messages=HI, tools=BASH, stream=True, extra_headers=KEY
            )
            seen.append([chunk async for chunk in stream])

        assert seen[0] == seen[1]
        assert running.bash.calls == ["ls"]


async def test_a_client_that_leaves_with_the_finish_reason_is_not_run_again(serve: Serve) -> None:
    async with serve(CALL, FINAL) as running:
        asked = {"model": "tiny", "messages": HI, "tools": BASH, "stream": True}
        usage = {"stream_options": {"include_usage": True}, "extra_headers": KEY}
        create: Any = running.client.chat.completions.create
        seen = []
        stream = await create(**asked, **usage)
        async for chunk in stream:
            seen.append(chunk)
            if chunk.choices[0].finish_reason:
                break
        await stream.close()
        again = [chunk async for chunk in await create(**asked, **usage)]

        assert again[:-1] == seen
        assert again[-1].usage.completion_tokens > 0
        assert running.bash.calls == ["ls"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_several_answers_are_kept_too(serve: Serve, stream: bool) -> None:
    async with serve("One.", "Two.") as running:
        asked: Any = {"model": "tiny", "messages": HI, "n": 2, "stream": stream}
        async with httpx.AsyncClient(base_url=running.url, headers=KEY) as http:
            first, again = [await http.post("/v1/chat/completions", json=asked) for _ in range(2)]

        assert first.text == again.text
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["x-trajectory-id"] == first.headers["x-trajectory-id"]


async def test_the_same_key_with_another_request_is_a_conflict(serve: Serve) -> None:
    async with serve("Hello.") as running:
        create = running.client.chat.completions.create
        await create(model="tiny", messages=HI, extra_headers=KEY)
        with pytest.raises(openai.ConflictError) as caught:
            await create(model="tiny", messages=HI, seed=1, extra_headers=KEY)

        assert caught.value.code == "idempotency_key_reused"


async def test_a_request_that_is_being_answered_is_not_run_again(serve: Serve) -> None:
    hang = CALL.replace('"ls"', '"hang"')
    async with serve(hang) as running:
        create = running.client.chat.completions.create
        first = asyncio.create_task(
            create(model="tiny", messages=HI, tools=BASH, extra_headers=KEY)
        )
        await running.bash.hanging.wait()
        with pytest.raises(openai.ConflictError) as caught:
            await create(model="tiny", messages=HI, tools=BASH, extra_headers=KEY)
        first.cancel()

        assert caught.value.code == "request_in_progress"
        assert caught.value.response.headers["retry-after"] == "1"


async def test_what_failed_can_be_tried_again_with_its_key(serve: Serve) -> None:
    async with serve(RuntimeError("boom"), "Hello.") as running:
        create = running.client.chat.completions.create
        with pytest.raises(openai.InternalServerError):
            await create(model="tiny", messages=HI, extra_headers=KEY)
        again = await create(model="tiny", messages=HI, extra_headers=KEY)

        assert again.choices[0].message.content == "Hello."


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_answer_that_may_not_be_kept_is_given_once(
    serve: Serve, stream: bool, n: int
) -> None:
    asked: Any = {"model": "tiny", "messages": HI, "n": n, "stream": stream, "extra_headers": KEY}
    async with serve("Zebras.", "Zebras.") as running:
        create = running.client.chat.completions.create
        answer = await create(**asked, store=False)
        if stream:
            assert [chunk async for chunk in answer]
        with pytest.raises(openai.ConflictError) as caught:
            await create(**asked, store=False)

        assert caught.value.code == "answer_not_kept"
        assert len(running.engine.requests) == n
