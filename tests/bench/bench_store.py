"""What the log costs: `python tests/bench/bench_store.py [--url URL] [--rows N] [--seconds S]`.

Prints Markdown: the disk's own fsync, the latency of an append at 100 requests a second, the rate
of insertion as the log grows, the time of a page, and the memory of an export.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from agentlm.messages import Message
from agentlm.store import Entry, Selection, Store
from agentlm.trajectory import Interaction, Origin, Outcome, Sampling, Step, Trajectory, Usage

REQUESTS_PER_SECOND = 100
CONCURRENT_INSERTS = 64
QUESTION, ANSWER = "How many of them are there? " * 40, "There are forty-two of them. " * 12


def chat(model: str = "tiny") -> Entry:
    """A question of 300 tokens and its answer of 100."""
    header = Trajectory(
        owner="bench", source="chat", model=model, outcome=Outcome.COMPLETED, reward=1.0
    )
    asked = Step(
        role="user", origin=Origin.PROMPT, text=QUESTION, token_ids=tuple(range(5000, 5300))
    )
    answer = Step(
        role="assistant",
        origin=Origin.SAMPLED,
        text=ANSWER,
        token_ids=tuple(range(7000, 7100)),
        logprobs=tuple(-0.01 * number for number in range(100)),
        finish_reason="stop",
        sampling=Sampling(),
        weights_version="sha256:0123456789abcdef",
    )
    interaction = Interaction(
        completion_id=f"chatcmpl-{uuid.uuid4().hex}",
        owner="bench",
        messages=(Message(role="user", content=QUESTION),),
        response=Message(role="assistant", content=ANSWER),
        finish_reason="stop",
        usage=Usage(prompt_tokens=300, completion_tokens=100),
        trajectory_id=header.id,
        first_step=0,
        end_step=2,
    )
    return Entry(header, 0, (asked, answer), interaction, keys=(uuid.uuid4().hex,))


def milliseconds(times: list[float]) -> str:
    """Median and 99th percentile."""
    ordered = sorted(times)
    return f"{1e3 * statistics.median(ordered):.2f} | {1e3 * ordered[int(0.99 * len(ordered))]:.2f}"


def fsync_times(folder: Path, count: int = 400) -> list[float]:
    """How long the disk takes to keep 16 KiB, which is what an append of this size writes."""
    times = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(os.urandom(16384))
            started = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
            time.sleep(1 / REQUESTS_PER_SECOND)
    return times


async def append_times(store: Store, seconds: float) -> list[float]:
    """Latency of each append of an open loop: a request comes whether or not the last is done."""
    times: list[float] = []

    async def one() -> None:
        entry = chat()
        started = time.perf_counter()
        await store.append(entry)
        times.append(time.perf_counter() - started)

    async with asyncio.TaskGroup() as group:
        begun = time.perf_counter()
        for number in range(int(seconds * REQUESTS_PER_SECOND)):
            await asyncio.sleep(begun + number / REQUESTS_PER_SECOND - time.perf_counter())
            group.create_task(one())
    return times


async def insert(store: Store, count: int) -> float:
    """Insert trajectories from concurrent clients; trajectories a second."""
    left = iter(range(count))

    async def client() -> None:
        for number in left:
            await store.append(chat("rare" if number % 1000 == 0 else "tiny"))

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CONCURRENT_INSERTS)))
    return count / (time.perf_counter() - started)


def timed(read: Callable[[], object], times: int = 20) -> str:
    """Median and 99th percentile of a read."""
    measured = []
    for _ in range(times):
        started = time.perf_counter()
        read()
        measured.append(time.perf_counter() - started)
    return milliseconds(measured)


def peak_mebibytes() -> float:
    """The most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report_pages(store: Store, rows: int) -> None:
    """Times of pages near and far, plain and filtered."""
    middle = store.page("bench", limit=1)[0][0].id
    for _ in range(5):
        middle = store.page("bench", limit=min(1000, max(1, rows // 12)), after=middle)[0][-1].id
    print(f"\n| page of 20 at {rows} trajectories | ms p50 | ms p99 |\n|---|---|---|")
    print(f"| newest | {timed(lambda: store.page('bench'))} |")
    print(f"| newest, all owners | {timed(lambda: store.page(None))} |")
    print(f"| in the middle | {timed(lambda: store.page('bench', after=middle))} |")
    print(f"| of a rare model | {timed(lambda: store.page('bench', Selection(model='rare')))} |")
    print(
        f"| of an unknown model | {timed(lambda: store.page('bench', Selection(model='none')))} |"
    )
    print(f"| statistics | {timed(store.stats, 3)} |")


def report_export(store: Store) -> None:
    """Rate and memory of reading everything."""
    before, started = peak_mebibytes(), time.perf_counter()
    count = sum(1 for _ in store.select(Selection()))
    rate = count / (time.perf_counter() - started)
    grown = peak_mebibytes() - before
    print(f"\nExport of {count}: {rate:.0f}/s, peak memory {before:.0f} MiB + {grown:.0f} MiB")


async def report(url: str, folder: Path, rows: int, seconds: float) -> None:
    """Everything, printed."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {url}"
    )
    store = Store.open(url)
    print("\n| | ms p50 | ms p99 |\n|---|---|---|")
    print(f"| fsync of 16 KiB | {milliseconds(fsync_times(folder))} |")
    times = await append_times(store, seconds)
    print(f"| append at {REQUESTS_PER_SECOND}/s | {milliseconds(times)} |")
    print("\n| trajectories in the log | inserted per second | appends per commit |\n|---|---|---|")
    for number in range(10):
        before = store.commits
        rate = await insert(store, rows // 10)
        group = rows // 10 / (store.commits - before)
        print(f"| {(number + 1) * rows // 10} | {rate:.0f} | {group:.1f} |")
    print(f"| {rows} | append at {REQUESTS_PER_SECOND}/s: ms p50, p99 |", end=" ")
    print(f"{milliseconds(await append_times(store, seconds))} |")
    report_pages(store, rows)
    report_export(store)
    store.close()


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="default: SQLite in a temporary directory")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where that directory is")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-store-") as folder:
        url = options.url or f"sqlite:///{folder}/agentlm.db"
        asyncio.run(report(url, Path(folder), options.rows, options.seconds))


if __name__ == "__main__":
    main()
