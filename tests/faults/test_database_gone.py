"""The database goes away under a running server, and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from agentlm.store import ApiKey
from support.postgres import Postgres
from support.serving import Running, Serve

HI: Any = [{"role": "user", "content": "Hi"}]
BASH: Any = [{"type": "bash"}]
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'


@pytest.mark.parametrize("reply", ["lost", CALL], ids=["answer", "call"])
async def test_a_database_that_is_gone_is_an_error_until_it_is_back(
    serve: Serve, postgres: Postgres, reply: str
) -> None:
    url = postgres.create_database()
    async with serve("One.", reply, "Two.", api_key="root", store_url=url) as running:
        ann = await running.store.keys.create(ApiKey(name="ann"))
        async with AsyncOpenAI(base_url=f"{running.url}/v1", api_key=ann, max_retries=0) as client:
            first = await client.chat.completions.create(model="tiny", messages=HI)
            postgres.stop()
            await assert_found_out_while_it_answers(running)
            await assert_refused_at_once(running, client)
            postgres.restart()
            assert await store_is_healthy(running)
            second = await client.chat.completions.create(model="tiny", messages=HI)

        found = [running.store.by_completion(each.id, "ann") for each in (first, second)]
        assert [one.response.content for [one] in found] == ["One.", "Two."]
        assert len(running.trajectories()) == 2


async def assert_found_out_while_it_answers(running: Running) -> None:
    """The stream ends in an error instead of a `finish_reason`, and no tool has run."""
    chunks: list[Any] = []
    asked = running.client.chat.completions.create(
        model="tiny", messages=HI, tools=BASH, stream=True
    )
    with pytest.raises(openai.APIError, match="the log at"):
        await read(await asked, chunks)
    assert {chunk.choices[0].finish_reason for chunk in chunks} == {None}
    assert running.bash.calls == []


async def assert_refused_at_once(running: Running, client: AsyncOpenAI) -> None:
    """No key can be looked up, nothing is generated in vain, nothing can be read."""
    for asking in (client, running.client):
        with pytest.raises(openai.InternalServerError) as caught:
            await asking.chat.completions.create(model="tiny", messages=HI)
        assert (caught.value.status_code, caught.value.code) == (503, "unavailable")
        assert caught.value.response.headers["retry-after"] == "1"
        assert caught.value.request_id
    assert len(running.engine.requests) == 2
    async with httpx.AsyncClient(headers={"authorization": "Bearer root"}) as http:
        assert (await http.get(f"{running.url}/v1/trajectories")).status_code == 503
    assert not await store_is_healthy(running)


async def store_is_healthy(running: Running) -> bool:
    async with httpx.AsyncClient() as http:
        return bool((await http.get(f"{running.url}/health")).json()["store"])


async def read(stream: AsyncIterator[Any], chunks: list[Any]) -> None:
    async for chunk in stream:
        chunks.append(chunk)
