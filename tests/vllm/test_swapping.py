"""The served model changes under traffic: every request is answered, each by one model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import repeat
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlm.engine.protocol import Adapter
from agentlm.models.aliases import Aliases, Promotion
from agentlm.models.registry import Registry
from support.finetune_logs import registered
from support.serving import Running, Serve
from support.tiny import tiny_llama

HI: Any = [{"role": "user", "content": "Hi"}]
DONE = "Thought: t\nFinal Answer: Done."


@pytest.fixture
def data_dir(tmp_path: Path, chatml_llama: Path) -> Path:
    """Two models of one shape are registered."""
    registered(tmp_path, chatml_llama, "one")
    registered(tmp_path, tiny_llama(tmp_path / "two", seed=1), "two")
    return tmp_path


async def promote(running: Running, data_dir: Path, name: str) -> httpx.Response:
    """As `agentlm models promote --publish` does."""
    Aliases(data_dir).add("production", Promotion(card=name))
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.post(f"{running.url}/v1/models", json={"name": "production"})


async def plain(running: Running) -> str:
    answer = await running.client.chat.completions.create(model="production", messages=HI)
    assert answer.choices[0].finish_reason == "stop"
    return answer.model


async def stream(running: Running) -> str:
    stream: Any = await running.client.chat.completions.create(
        model="production", messages=HI, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "stop"
    return str(chunks[0].model)


async def keep_asking(
    running: Running, ask: Callable[[Running], Awaitable[str]], end: asyncio.Event
) -> list[str]:
    models = []
    while not end.is_set():
        models.append(await ask(running))
    return [*models, await ask(running)]


async def test_full_weights_are_swapped_under_traffic_and_no_request_fails(
    serve: Serve, data_dir: Path
) -> None:
    async with serve(*repeat("Hello there.", 10_000), delay_s=0.001) as running:
        await promote(running, data_dir, "one")
        end = asyncio.Event()
        asking = [
            asyncio.create_task(keep_asking(running, ask, end)) for ask in (plain, stream) * 4
        ]
        for name in ("two", "one", "two"):
            await asyncio.sleep(0.1)
            assert (await promote(running, data_dir, name)).status_code == 200
        end.set()
        answered = await asyncio.gather(*asking)
        models = [model.id async for model in running.client.models.list()]

        assert models == ["two", "production"]
        assert [answers[-1] for answers in answered] == ["two"] * 8
        assert {name for answers in answered for name in answers} == {"one", "two"}
        registry = Registry(data_dir)
        version = {name: registry.get(name).weights_version for name in ("one", "two")}
        for trajectory in running.trajectories():
            assert trajectory.steps[-1].weights_version == version[trajectory.model]


@pytest.mark.parametrize(("name", "status"), [("production", 409), ("mine:agent", 400)])
async def test_an_adapter_takes_no_name_that_means_something(
    serve: Serve, data_dir: Path, name: str, status: int
) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as client:
        await promote(running, data_dir, "one")
        body = {"lora_name": name, "lora_path": "/nowhere"}
        answer = await client.post("/v1/load_lora_adapter", json=body)

        assert (answer.status_code, answer.json()["error"]["param"]) == (status, "lora_name")


async def test_a_run_keeps_its_weights_until_its_end(serve: Serve, data_dir: Path) -> None:
    call = 'Thought: t\nAction: bash\nAction Input: {"command": "hang"}'
    async with serve("-", call, DONE, "Hello.") as running:
        await promote(running, data_dir, "one")
        await plain(running)
        run = asyncio.create_task(
            running.client.chat.completions.create(model="production:agent", messages=HI)
        )
        await running.bash.hanging.wait()
        swap = asyncio.create_task(promote(running, data_dir, "two"))
        await asyncio.sleep(0.2)
        waited = not swap.done()
        running.bash.resume.set()

        assert (await run).model == "one"
        assert (await swap).status_code == 200
        assert waited
        assert await plain(running) == "two"
        versions = {step.weights_version for step in running.trajectories()[1].steps} - {None}
        assert versions == {Registry(data_dir).get("one").weights_version}


async def test_a_run_that_outlasts_the_drain_goes_on_with_the_new_weights(
    serve: Serve, data_dir: Path
) -> None:
    call = 'Thought: t\nAction: bash\nAction Input: {"command": "hang"}'
    async with serve(call, DONE, drain_s=0) as running:
        await promote(running, data_dir, "one")
        run = asyncio.create_task(
            running.client.chat.completions.create(model="production:agent", messages=HI)
        )
        await running.bash.hanging.wait()
        await promote(running, data_dir, "two")
        running.bash.resume.set()

        assert (await run).choices[0].message.content == "Done."
        registry = Registry(data_dir)
        versions = [step.weights_version for step in running.trajectories()[0].steps]
        assert [version for version in versions if version] == [
            registry.get(name).weights_version for name in ("one", "two")
        ]


async def test_weights_that_would_take_an_aliass_place_are_refused(
    serve: Serve, data_dir: Path
) -> None:
    async with serve("Hello.") as running:
        await promote(running, data_dir, "one")
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{running.url}/v1/models", json={"name": "two"})

        assert answer.status_code == 409
        assert "which is production: promote it instead" in answer.json()["error"]["message"]
        assert await plain(running) == "one"


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """What looks like an adapter, and is enough of one for an engine that loads none."""
    directory = tmp_path / "lora"
    directory.mkdir()
    (directory / "adapter_config.json").write_text("{}")
    (directory / "adapter_model.safetensors").write_text("weights")
    return directory


def load_slowly(running: Running, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, ...]:
    """Adapters take until the second event; the first tells that one has begun."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    load = running.engine.load_adapter

    async def slow(adapter: Adapter) -> None:
        begun.set()
        await go_on.wait()
        await load(adapter)

    monkeypatch.setattr(running.engine, "load_adapter", slow)
    return begun, go_on


async def test_an_adapter_is_not_served_beside_weights_that_came_while_it_was_loaded(
    serve: Serve, data_dir: Path, lora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve("Hello.") as running, httpx.AsyncClient(base_url=running.url) as client:
        await promote(running, data_dir, "one")
        begun, go_on = load_slowly(running, monkeypatch)
        body = {"lora_name": "of-one", "lora_path": str(lora)}
        loading = asyncio.create_task(client.post("/v1/load_lora_adapter", json=body))
        await begun.wait()
        swap = asyncio.create_task(promote(running, data_dir, "two"))
        await asyncio.wait({swap}, timeout=0.5)
        go_on.set()

        assert [(await it).status_code for it in (loading, swap)] == [200, 200]
        models = [model.id async for model in running.client.models.list()]
        assert models == ["two", "production"]
        assert running.engine.adapters == {}


async def test_of_two_adapters_that_come_under_one_name_one_is_served(
    serve: Serve, data_dir: Path, lora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve("Hello.") as running, httpx.AsyncClient(base_url=running.url) as client:
        await promote(running, data_dir, "one")
        begun, go_on = load_slowly(running, monkeypatch)
        body = {"lora_name": "mine", "lora_path": str(lora)}
        loading = [
            asyncio.create_task(client.post("/v1/load_lora_adapter", json=body)) for _ in range(2)
        ]
        await begun.wait()
        await asyncio.wait(loading, timeout=0.2)
        go_on.set()

        assert sorted([(await it).status_code for it in loading]) == [200, 409]
