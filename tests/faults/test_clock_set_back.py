"""The machine's clock is set by an hour while the server runs: nothing waits, doubles or lies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from agentlm.errors import ConflictError
from agentlm.store import Answer, ApiKey, KeptAnswer, Store
from support.serving import Serve

HI: Any = [{"role": "user", "content": "Hi"}]
BASH: Any = [{"type": "bash"}]
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
HANG = CALL.replace('"ls"', '"hang"')
FINAL = "Thought: t\nFinal Answer: Done."
KEY = {"Idempotency-Key": "k"}
HOUR_S = 3600.0
SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets the clock by so many seconds off the right time."""
    real = time.time

    def by(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return by


@pytest.mark.parametrize("seconds", [-HOUR_S, HOUR_S])
async def test_what_took_long_is_still_known(
    serve: Serve, set_clock: SetClock, seconds: float
) -> None:
    async with serve(CALL, FINAL, delay_s=0.005) as running:
        stream = await running.client.chat.completions.create(
            model="tiny", messages=HI, tools=BASH, stream=True
        )
        async for _ in stream:
            set_clock(seconds)
        [trajectory] = running.trajectories()
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(f"{running.url}/metrics")).text

    assert all(0 <= step.seconds < 60 for step in trajectory.steps)
    for name in ("agentlm_first_token_seconds_sum", "agentlm_choice_seconds_sum"):
        [line] = [line for line in metrics.splitlines() if line.startswith(name)]
        assert 0 < float(line.split()[-1]) < 60


async def test_a_spent_key_waits_a_minute_at_most(serve: Serve, set_clock: SetClock) -> None:
    async with serve("One.", "Two.", api_key="root") as running:
        running.client.api_key = await running.store.keys.create(
            ApiKey(name="slow", requests_per_minute=1)
        )
        create = running.client.chat.completions.create
        await create(model="tiny", messages=HI)
        for seconds in (-HOUR_S, HOUR_S):
            set_clock(seconds)
            with pytest.raises(openai.RateLimitError) as spent:
                await create(model="tiny", messages=HI)
            assert 0 < float(spent.value.response.headers["retry-after"]) <= 60


@pytest.mark.parametrize("seconds", [-HOUR_S, HOUR_S])
async def test_a_request_that_is_being_answered_is_not_run_twice(
    serve: Serve, set_clock: SetClock, seconds: float
) -> None:
    async with serve(HANG, FINAL) as running:
        asked: Any = {"model": "tiny", "messages": HI, "tools": BASH, "extra_headers": KEY}
        create = running.client.chat.completions.create
        first = asyncio.create_task(create(**asked))
        await running.bash.hanging.wait()
        set_clock(seconds)
        with pytest.raises(openai.ConflictError) as refused:
            await create(**asked)
        first.cancel()

    assert refused.value.code == "request_in_progress"
    assert len(running.engine.requests) == 1


@pytest.mark.parametrize("seconds", [-HOUR_S, HOUR_S])
async def test_what_a_dead_server_was_answering_can_be_asked_again(
    tmp_path: Path, set_clock: SetClock, seconds: float
) -> None:
    url = f"sqlite:///{tmp_path / 'agentlm.db'}"
    dead = Store.open(url)
    assert await dead.requests.begin("ann", "key", "digest") is None
    dead.close()
    store = Store.open(url)
    with pytest.raises(ConflictError):
        await store.requests.begin("ann", "key", "digest")
    set_clock(seconds)
    assert await store.requests.begin("ann", "key", "digest") is None
    answer = Answer(200, "Hello.")
    await store.requests.end(KeptAnswer("ann", "key", answer, time.time()))
    set_clock(0)
    assert await store.requests.begin("ann", "key", "digest") == answer
    store.close()


@pytest.mark.parametrize("seconds", [-HOUR_S, HOUR_S])
async def test_a_call_waits_for_a_decision_as_long_as_it_was_told(
    serve: Serve, tmp_path: Path, set_clock: SetClock, seconds: float
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("tools:\n  bash: ask\n")
    async with serve(CALL, FINAL, tool_policy=policy, approval_wait_s=1) as running:
        began = time.monotonic()
        run = asyncio.create_task(
            running.client.chat.completions.create(model="tiny", messages=HI, tools=BASH)
        )
        async with httpx.AsyncClient() as client:
            for _ in range(200):
                if (await client.get(f"{running.url}/v1/approvals")).json()["data"]:
                    break
                await asyncio.sleep(0.02)
        set_clock(seconds)
        await run

    assert 1 < time.monotonic() - began < 20
    assert running.bash.calls == []


async def test_the_judgement_that_was_given_last_counts(serve: Serve, set_clock: SetClock) -> None:
    async with serve("Hello.") as running, httpx.AsyncClient() as client:
        answer = await running.client.chat.completions.create(model="tiny", messages=HI)
        path = f"{running.url}/v1/trajectories/{answer.id}/feedback"
        await client.post(path, json={"value": True})
        set_clock(-HOUR_S)
        judged = await client.post(path, json={"value": False})

    assert judged.json()["reward"] == 0.0
