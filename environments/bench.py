"""The cost of environments without a model: `make bench-env`.

For each family, with the expert as player: environment steps per second, one task at a time and
many at once, and the peak memory of all processes at 64 tasks at once. Then, against a server in
this process that answers at once: what a rollout adds to a turn beside the bare chat call, and how
much memory it takes after a fifth of many tries and at their end.

Processor time counts server and player alike. It varies less with what else the machine does, and
what a rollout adds is the difference: the server does the same for both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

from openai import AsyncOpenAI

from agentlm.environments.catalogue import FAMILIES, EnvironmentName, opened
from agentlm.environments.db.environment import DbEnvironment
from agentlm.environments.playing.model_player import Decoding, connected
from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import GoldPlayer
from agentlm.environments.playing.progress import Progress, Result
from agentlm.environments.playing.recording import NoRecorder
from agentlm.environments.playing.rollout import Rollout
from agentlm.environments.task import Environment, Task
from agentlm.messages import Message, ToolCall
from agentlm.openai_messages import write_message
from agentlm.settings import Settings
from agentlm.tools.shell.process_tree import tree_usage

_MANY = 64
_TASKS = 256
_TRIES = 10_000
_ROUNDS = 5
"""Rollouts and bare calls alternate; the quickest round of each counts."""
_SAMPLE_S = 0.05
_TURNS_A_TRY = 2
"""The server calls sql once and then answers."""


class Cost(NamedTuple):
    steps_alone: float
    """Environment steps per second, one task at a time."""
    steps_many: float
    """The same with 64 tasks at once."""
    peak_mb: float
    """Memory of all processes, at 64 tasks at once."""


async def measure(name: EnvironmentName, data_dir: Path, tasks_wanted: int = _TASKS) -> Cost:
    """Play so many generated tasks many at once, and a quarter of them alone."""
    async with opened(name, concurrency=_MANY, data_dir=data_dir) as environment:
        tasks = list(islice(environment.generate("train"), tasks_wanted))
        alone = await _steps_a_second(environment, tasks[: tasks_wanted // 4], 1)
        peak = asyncio.create_task(_watch_memory())
        many = await _steps_a_second(environment, tasks, _MANY)
        peak.cancel()
        return Cost(alone, many, await peak)


class Times(NamedTuple):
    """Milliseconds of one turn."""

    wall: float
    processor: float

    @classmethod
    async def of(cls, work: Awaitable[object], turns: int) -> Self:
        """Of `work` that makes so many turns."""
        begun = time.perf_counter(), time.process_time()
        await work
        ended = time.perf_counter(), time.process_time()
        return cls(*(1000 * (b - a) / turns for a, b in zip(begun, ended, strict=True)))


async def overhead(turns: int) -> tuple[Times, Times]:
    """A rollout's turn, and the bare call to the same server."""
    tasks = list(islice(DbEnvironment().generate("train"), turns // _TURNS_A_TRY))
    rolled, bare = list[Times](), list[Times]()
    async with _answering() as url:
        for _ in range(_ROUNDS):
            rolled.append(await Times.of(_rollout(url, tasks), _TURNS_A_TRY * len(tasks)))
            bare.append(await Times.of(_bare_calls(url, turns), turns))
    return _quickest(rolled), _quickest(bare)


def _quickest(rounds: Sequence[Times]) -> Times:
    return Times(*map(min, zip(*rounds, strict=True)))


async def growth(tries: int) -> tuple[float, float]:
    """MB of memory after a fifth of these tries at a model, 64 at once, and after all."""
    early = list[float]()
    done = count(1)

    def look(_: Result) -> None:
        if next(done) == tries // 5:
            early.append(_memory_mb())

    async with _answering() as url:
        tasks = islice(DbEnvironment().generate("train"), tries)
        await _rollout(url, tasks, concurrency=_MANY, on_result=look)
    return early[0], _memory_mb()


async def _bare_calls(url: str, turns: int) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        for _ in range(turns):
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}]
            )


async def _rollout(
    url: str,
    tasks: Iterable[Task],
    *,
    concurrency: int = 1,
    on_result: Callable[[Result], None] = lambda _: None,
) -> None:
    with TemporaryDirectory() as directory:
        file = Path(directory) / "results.jsonl"
        with closing(Progress(file, {"bench": "env"})) as progress:
            async with connected(url, "m", Decoding()) as player:
                rollout = Rollout(
                    DbEnvironment(),
                    player,
                    NoRecorder(),
                    progress,
                    concurrency=concurrency,
                    on_result=on_result,
                )
                await rollout.run(tasks)


async def _steps_a_second(environment: Environment, tasks: Sequence[Task], at_once: int) -> float:
    slots = asyncio.Semaphore(at_once)

    async def one(task: Task) -> int:
        async with slots:
            run = await play(environment, task, GoldPlayer())
        assert run.reward == 1.0, run.broken or task.template
        return len(run.exchanges)

    begun = time.perf_counter()
    steps = sum(await asyncio.gather(*map(one, tasks)))
    return steps / (time.perf_counter() - begun)


async def _watch_memory() -> float:
    """Peak memory in MB until cancelled."""
    peak = 0.0
    try:
        while True:
            peak = max(peak, _memory_mb())
            await asyncio.sleep(_SAMPLE_S)
    except asyncio.CancelledError:
        return peak


def _memory_mb() -> float:
    return tree_usage(os.getpid()).memory_bytes / 1e6


@asynccontextmanager
async def _answering() -> AsyncIterator[str]:
    """A server that calls sql once and then answers, at once."""

    connections: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(serve(reader, writer)))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            body = json.loads(await reader.readexactly(length)) if length else {}
            content = json.dumps(_completion(body)).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(content), content)
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*connections)  # the clients have left


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).lower()
    except asyncio.IncompleteReadError:
        return b""


def _completion(request: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": '["1"]'}
    if request.get("tools") and request["messages"][-1]["role"] == "user":
        identity = f"call_{time.monotonic_ns()}"
        call = ToolCall(id=identity, name="sql", arguments='{"query": "SELECT 1"}')
        message = write_message(Message(role="assistant", content="", tool_calls=(call,)))
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }


async def _main(data_dir: Path, names: Sequence[EnvironmentName], tasks: int, tries: int) -> None:
    print(f"{'family':<10}{'steps/s':>10}{'at 64':>10}{'peak MB':>10}")
    for name in names:
        cost = await measure(name, data_dir, tasks)
        print(f"{name:<10}{cost.steps_alone:>10.0f}{cost.steps_many:>10.0f}{cost.peak_mb:>10.0f}")
    rolled, bare = await overhead(_TURNS_A_TRY * tasks)
    added = Times(*(with_it - without for with_it, without in zip(rolled, bare, strict=True)))
    print(f"\n{'a turn, ms':<24}{'wall':>10}{'processor':>10}")
    lines = {"of a rollout": rolled, "the bare chat call": bare, "what a rollout adds": added}
    for title, times in lines.items():
        print(f"{title:<24}{times.wall:>10.2f}{times.processor:>10.2f}")
    early, late = await growth(tries)
    print(f"\nmemory after {tries // 5:,} tries {early:.0f} MB, after {tries:,} {late:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the environments without a model.")
    parser.add_argument("--data-dir", type=Path, default=Settings().data_dir)
    parser.add_argument("--env", nargs="+", default=list(FAMILIES))
    parser.add_argument("--tasks", type=int, default=_TASKS, help="of each family")
    parser.add_argument("--tries", type=int, default=_TRIES, help="for the growth of memory")
    options = parser.parse_args()
    asyncio.run(_main(options.data_dir, options.env, options.tasks, options.tries))
