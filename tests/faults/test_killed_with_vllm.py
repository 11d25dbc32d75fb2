"""A server with real vLLM that is killed under load: what was answered is in the log, and no
process of vLLM's stays."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from agentlm.store import Store
from agentlm.trajectory import Outcome
from test_whole_loop import serving

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1800)]

HI: Any = [{"role": "user", "content": "Hi"}]
KILLS = 20
"""Each with a start of vLLM: ten minutes on two cores."""


async def test_twenty_kills_under_load_lose_nothing_and_leave_nothing_behind(
    tmp_path: Path, chatml_llama: Path
) -> None:
    chance = random.Random(7)
    answers: dict[str, str] = {}
    for _ in range(KILLS):
        with serving(tmp_path, str(chatml_llama)) as (server, url):
            processes = descendants(server.pid)
            await asked_until_killed(server, url, answers, after=chance.randrange(1, 60))
            server.wait()
            gone(processes)

    assert len(answers) > 10 * KILLS
    with closing(Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")) as store:
        for identity, text in answers.items():
            [interaction] = store.by_completion(identity, None)
            assert interaction.response.content == text


async def test_told_to_stop_it_finishes_what_runs_and_ends_well(
    tmp_path: Path, chatml_llama: Path
) -> None:
    with serving(tmp_path, str(chatml_llama)) as (server, url):
        processes = descendants(server.pid)
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model=chatml_llama.name, messages=HI, max_tokens=400, stream=True
            )
            await anext(stream)
            server.send_signal(signal.SIGTERM)
            reasons = [chunk.choices[0].finish_reason async for chunk in stream]
        code = server.wait(60)
        gone(processes)

    assert reasons[-1] in ("length", "stop")
    assert code == 0
    with closing(Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")) as store:
        [header], _ = store.page(None)
        assert header.outcome in (Outcome.COMPLETED, Outcome.LIMIT)


async def asked_until_killed(
    server: subprocess.Popen[str], url: str, answers: dict[str, str], *, after: int
) -> None:
    """Have eight clients ask all the time; kill the server after so many more answers."""
    wanted = len(answers) + after

    async def ask(client: AsyncOpenAI) -> None:
        [model] = (await client.models.list()).data
        while True:
            answer = await client.chat.completions.create(
                model=model.id, messages=HI, max_tokens=16
            )
            answers[answer.id] = answer.choices[0].message.content or ""
            if len(answers) == wanted:
                os.kill(server.pid, signal.SIGKILL)

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        for ended in asyncio.as_completed([ask(client) for _ in range(8)]):
            with suppress(openai.APIConnectionError):
                await ended


def descendants(process: int) -> list[int]:
    """All processes that a process started, and those that they did."""
    children = [
        int(child)
        for task in Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [*children, *(each for child in children for each in descendants(child))]


def gone(processes: list[int]) -> None:
    """Wait until none of these processes is left."""
    for _ in range(200):
        if not any(Path(f"/proc/{process}").exists() for process in processes):
            return
        time.sleep(0.1)
    raise AssertionError(f"some of {processes} are left")
