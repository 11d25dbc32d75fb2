"""What the tools cost: `python tests/bench/bench_tools.py [--graph DIR] [--repeat N]`.

Prints Markdown: a bash command against a plain subprocess, a SQL statement against the driver, a
call of each graph function, and calls a second by 32 runs at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agentlm.agent.tool import ToolContext
from agentlm.messages import ToolCall
from agentlm.store import Store
from agentlm.tools.audit import AuditRecord
from agentlm.tools.run_tools import RunTools
from agentlm.tools.settings import ToolSettings
from agentlm.tools.sql.sample_database import sample_database
from agentlm.tools.toolbox import Toolbox

RUNS = 32
STATEMENT = "SELECT Name FROM Artist WHERE ArtistId < 10"
GRAPH_CALLS = [
    ("find_entity", {"name": "berlin"}),
    ("get_relations", {"variable": "geo:DE"}),
    ("get_neighbors", {"variable": "geo:DE", "relation": "^geo:country"}),
    ("get_attributes", {"variable": "#0"}),
    ("argmax", {"variable": "#0", "attribute": "geo:population"}),
    ("count", {"variable": "#0"}),
    ("sparql", {"query": "SELECT ?n { ?c a geo:Country ; rdfs:label ?n } LIMIT 10"}),
]


async def no_audit(record: AuditRecord) -> None:
    """The log's cost is measured with the log."""


async def call(tools: RunTools, trajectory: str, name: str, /, **arguments: str) -> None:
    """One call that has to succeed."""
    asked = ToolCall(id="call_1", name=name, arguments=json.dumps(arguments))
    observation = await tools.call(asked, ToolContext(trajectory, "bench"))
    assert not observation.failed, observation.text


def calling(
    tools: RunTools, trajectory: str, name: str, /, **arguments: str
) -> Callable[[int], Awaitable[None]]:
    """The same call, as often as it is wanted."""
    return lambda _: call(tools, trajectory, name, **arguments)


async def milliseconds(work: Callable[[int], Awaitable[None]], repeat: int) -> list[float]:
    """How long each repetition takes."""
    times = []
    for number in range(repeat):
        started = time.perf_counter()
        await work(number)
        times.append(1e3 * (time.perf_counter() - started))
    return sorted(times)


def row(name: str, times: list[float]) -> None:
    """Median and 95th percentile."""
    p95 = times[int(0.95 * (len(times) - 1))]
    print(f"| {name} | {statistics.median(times):.2f} | {p95:.2f} |", flush=True)


async def bash(tools: RunTools, repeat: int) -> None:
    """Against a plain subprocess of the same shell."""

    async def plain(_: int) -> None:
        await asyncio.to_thread(
            subprocess.run, ["bash", "-c", "echo hi"], check=True, stdout=subprocess.DEVNULL
        )

    row("`bash -c 'echo hi'`, plain subprocess", await milliseconds(plain, repeat))
    fresh = []
    for number in range(max(10, repeat // 10)):
        await asyncio.sleep(0.2)  # a model takes longer than that to think of a command
        fresh += await milliseconds(calling(tools, f"new_{number}", "bash", command="echo hi"), 1)
    row("first command of a conversation", sorted(fresh))
    await call(tools, "kept", "bash", command="true")
    row(
        "further command of a conversation",
        await milliseconds(calling(tools, "kept", "bash", command="echo hi"), repeat),
    )
    row(
        "the same, starting a program (`/bin/true`)",
        await milliseconds(calling(tools, "kept", "bash", command="/bin/true"), repeat),
    )


async def audited(tools: RunTools, repeat: int) -> None:
    """With the row that each call leaves in the log, on the disk when it returns."""
    await call(tools, "audited", "bash", command="true")
    row(
        "further command, with its audit row in the log",
        await milliseconds(calling(tools, "audited", "bash", command="echo hi"), repeat),
    )


async def sql(tools: RunTools, database: Path, repeat: int) -> None:
    """Against the driver."""
    connection = sqlite3.connect(database)

    async def driver(_: int) -> None:
        connection.execute(STATEMENT).fetchall()

    row("statement, SQLite's driver", await milliseconds(driver, repeat))
    connection.close()
    await call(tools, "kept", "sql", statement=STATEMENT)
    row(
        "statement, `sql`",
        await milliseconds(calling(tools, "kept", "sql", statement=STATEMENT), repeat),
    )


async def graph(tools: RunTools, repeat: int) -> None:
    """Each function; what it made is remembered, so the variable is not made anew."""
    for name, arguments in GRAPH_CALLS:
        first = await milliseconds(calling(tools, "graph", name, **arguments), 1)
        row(f"`{name}`, first", first)
        if name not in ("get_neighbors", "argmax", "count"):
            times = await milliseconds(calling(tools, "graph", name, **arguments), repeat)
            row(f"`{name}`", times)


async def together(
    tools: RunTools, seconds: float, name: str, /, more: str = "", **arguments: str
) -> None:
    """Calls a second by many runs at once."""
    end = time.perf_counter() + seconds
    counts = [0] * RUNS

    async def run(number: int) -> None:
        while time.perf_counter() < end:
            await call(tools, f"run_{number}", name, **arguments)
            counts[number] += 1

    await asyncio.gather(*(call(tools, f"run_{n}", name, **arguments) for n in range(RUNS)))
    await asyncio.gather(*(run(number) for number in range(RUNS)))
    print(
        f"| `{name}`{more} | {sum(counts) / seconds:.0f} | {min(counts) / seconds:.1f} |",
        flush=True,
    )


async def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", type=Path, help="instead of the one in the usual place")
    parser.add_argument("--repeat", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load by many runs")
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before\n")
    with tempfile.TemporaryDirectory() as folder:
        database = sample_database(Path(folder))
        settings = ToolSettings(
            data_dir=Path(folder), sql_url=f"sqlite:///{database}", graph=options.graph
        )
        built = (settings.graph_dir() / "graph.json").is_file()
        families = ["bash", "sql"] + (["knowledge_graph"] if built else [])
        toolbox = await Toolbox.open(settings, families, no_audit)
        tools = toolbox.for_request(families)
        store = Store.open(f"sqlite:///{folder}/agentlm.db")
        recorded = await Toolbox.open(settings, ["bash"], store.audit.add)
        print("| one at a time | median ms | p95 ms |\n|---|---:|---:|")
        await bash(tools, options.repeat)
        await audited(recorded.for_request(["bash"]), options.repeat)
        await sql(tools, database, options.repeat)
        if built:
            await graph(tools, options.repeat)
        print(f"\n| {RUNS} runs at once | calls/s | slowest run, calls/s |\n|---|---:|---:|")
        await together(tools, options.seconds, "bash", command="echo hi")
        more = " with its audit row"
        await together(
            recorded.for_request(["bash"]), options.seconds, "bash", more, command="echo hi"
        )
        await together(tools, options.seconds, "sql", statement=STATEMENT)
        if built:
            await together(tools, options.seconds, "get_relations", variable="geo:DE")
        await toolbox.close()
        await recorded.close()
        store.close()


if __name__ == "__main__":
    asyncio.run(main())
