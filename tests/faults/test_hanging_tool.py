"""A command that never ends, in the real sandbox: its deadline ends it, or its client does."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlm.trajectory import Outcome
from support.serving import Serve

FINAL = "Thought: t\nFinal Answer: It hung."
ASKED = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Hi"}],
    "tools": [{"type": "bash"}],
}


def hang(mark: str) -> str:
    command = f"sleep {mark} & sleep {mark}"
    return f"Thought: t\nAction: bash\nAction Input: {json.dumps({'command': command})}"


def hung(mark: str) -> int:
    """How many processes hang so."""
    needle = f"sleep\0{mark}\0".encode()
    return sum(needle in command(process) for process in Path("/proc").glob("[0-9]*"))


def command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def wait_until_hung(mark: str, count: int) -> None:
    for _ in range(400):
        if hung(mark) == count:
            return
        time.sleep(0.025)
    raise AssertionError(f"{hung(mark)} hang instead of {count}")


async def test_its_deadline_ends_it_and_the_model_is_told(serve: Serve) -> None:
    async with serve(hang("1000001"), FINAL, tools=("bash",), tool_timeout_s=1) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as http:
            answer = await http.post("/v1/chat/completions", json=ASKED)
        [step] = answer.json()["choices"][0]["message"]["agent_steps"]

        assert step["failed"]
        assert "1 s" in step["observation"]
        assert answer.json()["choices"][0]["message"]["content"] == "It hung."
        await asyncio.to_thread(wait_until_hung, "1000001", 0)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_its_client_goes_and_its_processes_are_killed(serve: Serve, stream: bool) -> None:
    mark = f"100000{2 + stream}"
    async with serve(hang(mark), tools=("bash",)) as running:
        body: dict[str, Any] = {**ASKED, "stream": stream}
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as http:
            asked = asyncio.create_task(http.post("/v1/chat/completions", json=body))
            await asyncio.to_thread(wait_until_hung, mark, 2)
            asked.cancel()
            await asyncio.to_thread(wait_until_hung, mark, 0)
            while not (found := running.trajectories()[0]).interactions:
                await http.get("/health")

        assert found.outcome is Outcome.CANCELLED
        [(_, record)], _ = running.store.audit.page(None)
        assert (record.tool, record.verdict) == ("bash", "cancelled")
