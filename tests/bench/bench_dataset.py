"""What building a data set costs: `python tests/bench/bench_dataset.py [--rows N …] [--dir DIR]`.

Prints Markdown: rewarded agent rows of about 550 tokens, selected from SQLite, filtered, and
written as token rows with every filter on; beside it, reading the same rows from the store and
nothing else. Each size is a process of its own, so that its peak memory is its own. Seconds are
those of the processor: one core's work.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from agentlm.finetune.prepare import prepare
from agentlm.finetune.settings import FinetuneSettings
from agentlm.render import Renderer
from agentlm.store import Entry, Selection, Store
from agentlm.trajectory import Trajectory
from finetune_logs import conversation, registered, renderer, trajectory
from tiny import CORPUS, tiny_llama

CONCURRENT_INSERTS = 64
WORDS = CORPUS[0].split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--dir", type=Path, help="keep the logs here instead of a temporary place")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(measure(arguments.measure))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores\n")
    print("| rows | reading | building | of the same rows a second | peak memory |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for rows in arguments.rows:
            directory = (arguments.dir or Path(temporary)) / str(rows)
            fill(directory, rows)
            command = [sys.executable, __file__, "--measure", str(directory)]
            print(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def fill(directory: Path, rows: int) -> None:
    """A log of so many rows; one that is there already is used again."""
    if (directory / "agentlm.db").exists():
        return
    directory.mkdir(parents=True)
    model = tiny_llama(directory / "tiny")
    registered(directory, model)
    with closing(Store.open(_url(directory))) as store:
        asyncio.run(_insert(store, renderer(model), rows))


async def _insert(store: Store, by: Renderer, rows: int) -> None:
    random_ = random.Random(0)
    gate = asyncio.Semaphore(CONCURRENT_INSERTS)

    async def one(number: int) -> None:
        async with gate:
            played = _play(by, random_, number)
            await store.append(Entry(played, 0, played.steps))
            await store.score(played.id, None, reward=1.0)

    for start in range(0, rows, 1_000):
        await asyncio.gather(*(one(number) for number in range(start, min(rows, start + 1_000))))


def _play(by: Renderer, random_: random.Random, number: int) -> Trajectory:
    def text(words: int) -> str:
        return " ".join(random_.choices(WORDS, k=words))

    calls = [
        f'Thought: {text(15)}\nAction: bash\nAction Input: {{"command": "ls {number}-{index}"}}'
        for index in range(3)
    ]
    answer = f"Thought: {text(10)}\nFinal Answer: {text(20)}"
    return trajectory(conversation(by, text(30), *calls, answer, observed=text(60)))


def measure(directory: Path) -> str:
    """One row of the table."""
    with closing(Store.open(_url(directory))) as store:
        rows, reading = _seconds(lambda: sum(1 for _ in store.select(Selection())))
    settings = FinetuneSettings(data_dir=directory, from_logs=True, base="tiny", max_steps=1)
    prepared, building = _seconds(lambda: prepare(settings))
    assert len(prepared.sources()[0].rows) > 0.9 * rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    speeds = f"{rows / reading:,.0f}/s | {rows / building:,.0f}/s | {reading / building:.2f}"
    return f"| {rows:,} | {speeds} | {peak:,.0f} MB |"


def _seconds(work: Any) -> tuple[Any, float]:
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def _url(directory: Path) -> str:
    return f"sqlite:///{directory / 'agentlm.db'}"


if __name__ == "__main__":
    main()
