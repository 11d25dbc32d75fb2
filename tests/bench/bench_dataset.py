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
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from agentlm.finetune.data.prepare import prepare
from agentlm.finetune.settings import FinetuneSettings
from agentlm.messages import ToolSpec
from agentlm.prompt.render import Renderer
from agentlm.store import Entry, Selection, Store
from agentlm.trajectory import Step
from support.finetune_logs import conversation, registered, renderer, trajectory
from support.tiny import CORPUS, tiny_llama

CONCURRENT_INSERTS = 1_000
PLAYED = 2_000
"""Conversations; of a million rows of their steps, next to none share two observations."""
BASH = ToolSpec(
    name="bash",
    description="Run a shell command and get what it prints.",
    parameters={"type": "object", "properties": {"command": {"type": "string"}}},
    owner="server",
)
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
    print("| rows | reading | building | building / reading | peak memory |")
    print("|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for rows in arguments.rows:
            directory = (arguments.dir or Path(temporary)) / str(rows)
            fill(directory, rows)
            command = [sys.executable, __file__, "--measure", str(directory)]
            subprocess.run(command, check=True)


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
    played = [_play(by, random_, number) for number in range(min(rows, PLAYED))]
    for start in range(0, rows, CONCURRENT_INSERTS):
        some = range(start, min(rows, start + CONCURRENT_INSERTS))
        await asyncio.gather(*(store.append(_entry(played, random_)) for _ in some))


def _entry(played: Sequence[tuple[Step, ...]], random_: random.Random) -> Entry:
    """A row of its own: each step is that of another conversation."""
    steps = tuple(random_.choice(played)[place] for place in range(len(played[0])))
    return Entry(trajectory(steps, tools=(BASH,)), 0, steps)


def _play(by: Renderer, random_: random.Random, number: int) -> tuple[Step, ...]:
    def text(words: int) -> str:
        return " ".join(random_.choices(WORDS, k=words))

    calls = [
        f'Thought: {text(15)}\nAction: bash\nAction Input: {{"command": "ls {number}-{index}"}}'
        for index in range(3)
    ]
    answer = f"Thought: {text(10)}\nFinal Answer: {text(20)}"
    return conversation(by, text(30), *calls, answer, observed=text(60))


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
