"""API keys keep people apart: what they see, how often they ask, what is kept of them."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from agentlm.store import ApiKey
from support.serving import Running, Serve

HI: Any = [{"role": "user", "content": "Hi"}]
BASH: Any = [{"type": "bash"}]


def client(running: Running, secret: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{running.url}/v1", api_key=secret, max_retries=0)


async def get(running: Running, secret: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {secret}"}) as http:
        return await http.get(running.url + path)


async def test_another_keys_rows_do_not_exist(serve: Serve) -> None:
    async with serve("Hello.", api_key="root") as running:
        ann = await running.store.keys.create(ApiKey(name="ann"))
        bob = await running.store.keys.create(ApiKey(name="bob"))
        async with client(running, ann) as hers:
            answer = await hers.chat.completions.create(model="tiny", messages=HI)
        identity = running.trajectories()[0].id

        for path in (f"/v1/trajectories/{identity}", f"/v1/trajectories/{answer.id}"):
            assert (await get(running, ann, path)).status_code == 200
            assert (await get(running, bob, path)).status_code == 404
            assert (await get(running, "root", path)).status_code == 200
        assert (await get(running, bob, "/v1/trajectories")).json()["data"] == []


async def test_one_key_can_not_continue_anothers_conversation(serve: Serve) -> None:
    async with serve("Hello.", "Fine.", api_key="root") as running:
        ann = await running.store.keys.create(ApiKey(name="ann"))
        bob = await running.store.keys.create(ApiKey(name="bob"))
        follow_up = [*HI, {"role": "assistant", "content": "Hello."}, *HI]
        async with client(running, ann) as hers, client(running, bob) as his:
            await hers.chat.completions.create(model="tiny", messages=HI)
            await his.chat.completions.create(model="tiny", messages=follow_up)

        assert [(t.owner, t.parent_id) for t in running.trajectories()] == [
            ("ann", None),
            ("bob", None),
        ]


async def test_a_key_that_is_spent_says_when_to_come_back(serve: Serve) -> None:
    async with serve("One.", api_key="root") as running:
        slow = await running.store.keys.create(ApiKey(name="slow", requests_per_minute=1))
        async with client(running, slow) as his:
            await his.chat.completions.create(model="tiny", messages=HI)
            with pytest.raises(openai.RateLimitError) as caught:
                await his.chat.completions.create(model="tiny", messages=HI)

        assert 0 < int(caught.value.response.headers["retry-after"]) <= 60


async def test_a_keys_tools_are_all_that_it_has(serve: Serve) -> None:
    async with serve("Hello.", api_key="root") as running:
        plain = await running.store.keys.create(ApiKey(name="plain", tools=()))
        async with client(running, plain) as his:
            with pytest.raises(openai.BadRequestError, match="bash"):
                await his.chat.completions.create(model="tiny", messages=HI, tools=BASH)
            await his.chat.completions.create(model="tiny:agent", messages=HI)

        assert running.trajectories()[0].tools == ()


async def test_what_a_key_does_not_allow_is_not_kept_or_trained_on(serve: Serve) -> None:
    async with serve("Hello.", api_key="root") as running:
        key = ApiKey(name="quiet", log="metadata", may_train=False)
        quiet = await running.store.keys.create(key)
        async with client(running, quiet) as his:
            await his.chat.completions.create(model="tiny", messages=HI)
        [trajectory] = running.trajectories()

        assert "Hello" not in trajectory.model_dump_json()
        assert not trajectory.may_train


async def test_only_an_administrator_changes_what_is_served(serve: Serve) -> None:
    async with serve(api_key="root") as running:
        plain = await running.store.keys.create(ApiKey(name="plain"))
        headers = {"authorization": f"Bearer {plain}"}
        async with httpx.AsyncClient(headers=headers) as http:
            answer = await http.post(f"{running.url}/v1/models", json={"name": "x"})

        assert answer.status_code == 403


async def test_a_revoked_key_is_none(serve: Serve) -> None:
    async with serve(api_key="root") as running:
        secret = await running.store.keys.create(ApiKey(name="gone"))
        await running.store.keys.revoke("gone")

        assert (await get(running, secret, "/v1/models")).status_code == 401


async def test_no_key_can_time_what_another_has_asked(serve: Serve) -> None:
    """An engine finds a prompt in its cache under the owner's salt only; a client sends none."""
    async with serve(*["Hello."] * 10, api_key="root") as running:
        secrets = [await running.store.keys.create(ApiKey(name=name)) for name in ("ann", "bob")]
        for secret in secrets:
            async with client(running, secret) as one:
                await one.chat.completions.create(model="tiny", messages=HI)
                await one.chat.completions.create(
                    model="tiny", messages=HI, user="ann", extra_body={"prompt_cache_key": "ann"}
                )
                stream = await one.chat.completions.create(
                    model="tiny", messages=HI, stream=True, n=2
                )
                assert [chunk async for chunk in stream]
                await one.completions.create(model="tiny", prompt="Hi")
                with pytest.raises(openai.BadRequestError):
                    await one.chat.completions.create(
                        model="tiny", messages=HI, extra_body={"cache_salt": "ann"}
                    )

    salts = [request.salt for request in running.engine.requests]
    assert set(salts) == {"ann", "bob"}
    assert salts == sorted(salts)
