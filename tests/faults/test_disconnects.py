"""A client that goes away, whenever it does: what runs for it ends, and the log says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from agentlm.engine.protocol import Delta
from agentlm.trajectory import Origin, Outcome, Trajectory
from support.serving import Running, Serve

THOUGHT = "Thought: " + "I think. " * 200
HANG = 'Thought: I look.\nAction: bash\nAction Input: {"command": "hang"}'
ANSWER = "Thought: I know.\nFinal Answer: " + "word " * 200
MANY = "word " * 200


CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


def body(path: str = CHAT, *, tools: bool, **fields: Any) -> dict[str, Any]:
    said: Any = (
        {"messages": [{"role": "user", "content": "Hi"}]} if path == CHAT else {"input": "Hi"}
    )
    families = {"tools": [{"type": "bash"}]} if tools else {}
    return {"model": "tiny", **said, **families, **fields}


class Watch:
    """Sees what an engine says, and that it is made to stop."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._generate = running.engine.generate
        running.engine.generate = self.generate  # type: ignore[method-assign]
        self.text = ""
        self.tokens = 0
        self.stopped = asyncio.Event()

    async def generate(self, *arguments: Any, **options: Any) -> AsyncGenerator[Delta, None]:
        try:
            async for delta in self._generate(*arguments, **options):
                self.text += delta.text
                self.tokens += len(delta.token_ids)
                yield delta
        finally:
            self.stopped.set()

    async def until(self, phase: str) -> None:
        reached = {
            "begun": lambda: self._running.engine.requests,
            "thinking": lambda: "I think. I think." in self.text,
            "acting": self._running.bash.hanging.is_set,
            "answering": lambda: self.text.count("w") > 1,
        }[phase]
        for _ in range(4000):
            if reached():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"not {phase}")


@pytest.mark.parametrize(
    ("phase", "reply", "tools"),
    [
        ("begun", MANY, False),
        ("thinking", THOUGHT, True),
        ("acting", HANG, True),
        ("answering", ANSWER, True),
        ("answering", MANY, False),
    ],
)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_what_runs_is_cancelled_and_recorded(
    serve: Serve, phase: str, reply: str, tools: bool, stream: bool, path: str
) -> None:
    async with serve(reply, delay_s=0.005) as running:
        watch = Watch(running)
        fields = body(path, tools=tools, stream=stream)
        asked = asyncio.create_task(ask(running, fields, path=path))
        await watch.until(phase)
        asked.cancel()
        await watch.stopped.wait()
        [trajectory] = await settled(running)

        assert trajectory.outcome is Outcome.CANCELLED
        [interaction] = trajectory.interactions
        assert interaction.finish_reason is None
        assert (interaction.delivered is not None) == stream
        sampled = [step for step in trajectory.steps if step.origin is Origin.SAMPLED]
        assert sum(len(step.token_ids or ()) for step in sampled) == watch.tokens
        assert (phase == "acting") == running.bash.cancelled.is_set()
        assert "agentlm_running 0.0" in await metrics(running)


async def test_what_was_left_can_be_asked_for_again_with_its_key(serve: Serve) -> None:
    async with serve(MANY, "Hello.", delay_s=0.005) as running:
        once = {"idempotency-key": "mine"}
        watch = Watch(running)
        fields = body(tools=False, stream=True)
        asked = asyncio.create_task(ask(running, fields, once))
        await watch.until("begun")
        asked.cancel()
        await settled(running)
        answer = await ask(running, fields, once)

        assert '"finish_reason": "stop"' in answer
        assert answer.endswith("data: [DONE]\n\n")


async def test_all_choices_of_a_request_are_cancelled(serve: Serve) -> None:
    async with serve(MANY, MANY, delay_s=0.005) as running:
        watch = Watch(running)
        asked = asyncio.create_task(ask(running, body(tools=False, stream=True, n=2)))
        await watch.until("answering")
        asked.cancel()

        assert {t.outcome for t in await settled(running, 2)} == {Outcome.CANCELLED}


async def ask(
    running: Running, fields: Any, headers: dict[str, str] | None = None, path: str = CHAT
) -> str:
    async with httpx.AsyncClient(base_url=running.url, timeout=60) as http:
        return (await http.post(path, json=fields, headers=headers)).text


async def metrics(running: Running) -> str:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{running.url}/metrics")).text


async def settled(running: Running, count: int = 1) -> list[Trajectory]:
    """So many trajectories, once the server has recorded how they ended."""
    for _ in range(500):
        found = running.trajectories()
        if sum(len(trajectory.interactions) for trajectory in found) == count:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was recorded")
