"""How ChatAgentLM connects, what it keeps to itself, and what it needs."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from agentlm.clients.langchain import ChatAgentLM
from agentlm.trajectory import Outcome, Trajectory
from support.chatting import astream, chat
from support.serving import Running, Serve


@pytest.mark.parametrize("closing", ["sync", "async"])
async def test_a_stream_that_is_left_ends_the_generation(serve: Serve, closing: str) -> None:
    async with serve("word " * 1000, delay_s=0.002) as running:
        model = chat(running)

        def leave() -> None:
            chunks = iter(model.stream("Hi"))
            while not next(chunks).text:
                pass
            chunks.close()  # type: ignore[attr-defined]

        if closing == "sync":
            await asyncio.to_thread(leave)
        else:
            chunks = model.astream("Hi")
            while not (await anext(chunks)).text:
                pass
            await chunks.aclose()  # type: ignore[attr-defined]
        trajectory = await settled(running)

        assert trajectory.outcome is Outcome.CANCELLED


async def settled(running: Running) -> Trajectory:
    """The only trajectory, once the server has recorded how it ended."""
    for _ in range(200):
        found = running.trajectories()
        if found and found[0].interactions:
            return found[0]
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was recorded")


def test_one_model_serves_one_event_loop_after_another(server: Running) -> None:
    model = chat(server)

    answers = [asyncio.run(astream(model, "Hi")) for _ in range(2)]

    assert answers[0].text == answers[1].text


def test_the_key_is_kept_secret() -> None:
    model = ChatAgentLM(model="tiny", api_key="hush")

    assert "hush" not in repr(model) + str(model.asdict()) + model.model_dump_json()


def test_it_needs_nothing_of_the_servers() -> None:
    absent = [
        *("fastapi", "uvicorn", "starlette", "vllm", "torch", "transformers", "tokenizers"),
        *("sqlmodel", "sqlalchemy", "jinja2", "prometheus_client", "numpy"),
    ]
    program = (
        "import sys\n"
        f"sys.modules |= dict.fromkeys({absent})\n"
        "from agentlm.clients.langchain import ChatAgentLM\n"
        "ChatAgentLM(model='m').bind_tools([{'type': 'bash'}])\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
