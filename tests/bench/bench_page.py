"""What the page at `/` costs: `python tests/bench/bench_page.py [--model NAME] [--rows N]`.

Prints Markdown: how long the first view of a long log, and of a trajectory of 500 steps, takes in a
browser that has nothing of the page yet, and how many frames a second are drawn while each is
scrolled, beside answers that stream from the same server: of a model if one is named, else of a
script.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from openai import AsyncOpenAI
from playwright.sync_api import Browser, Page

from agentlm.server.routes import page
from agentlm.store import Entry, Store
from support.background import in_background
from support.browser import chromium, visit
from support.long_log import write
from support.model_server import serving
from support.records import prompt, sampled, trajectory
from support.serving import running

VIEWS = 5
STEPS = 500
PIXELS = 40
"""Scrolled with each frame: 2,400 a second, if 60 frames are drawn."""

SCROLL = """({ selector, pixels, ms }) => new Promise((done) => {
    const at = document.querySelector(selector), began = performance.now();
    let frames = 0, longest = 0, before = began;
    const step = (now) => {
        longest = Math.max(longest, now - before);
        before = now;
        frames += 1;
        at.scrollTop += pixels;
        if (now - began < ms) requestAnimationFrame(step);
        else done({ rate: (1000 * frames) / (now - began), longest, pixels: at.scrollTop });
    };
    requestAnimationFrame(step);
})"""


@dataclass(frozen=True)
class View:
    """Something long on the page."""

    name: str
    path: str
    first: str
    """What is in sight once there is something to read."""
    scroller: str


async def write_log(folder: Path, rows: int) -> str:
    """So many trajectories and one of 500 steps, which is the newest; returns its id."""
    log = folder / "agentlm.db"
    await write(log, rows, time.time())
    header = trajectory()
    steps = [
        (prompt if number % 2 == 0 else sampled)([number % 8] * 40, f"word {number} " * 40)
        for number in range(STEPS)
    ]
    with closing(Store.open(f"sqlite:///{log}")) as store:
        await store.append(Entry(header, 0, tuple(steps)))
    return header.id


@contextmanager
def served(folder: Path, model: str | None) -> Iterator[str]:
    """A server's URL: of a model, or of one that says the same again and again."""
    if model is None:
        replies = ["word " * 200] * 100_000
        with in_background(running(folder, replies, "chatml", {"delay_s": 0.02})) as server:
            yield server.url
        return
    with serving(folder, model) as url:
        yield url


@contextmanager
def answering(url: str, count: int) -> Iterator[None]:
    """Meanwhile so many clients read an answer each, again and again."""
    stop = threading.Event()

    async def ask(client: AsyncOpenAI, model: str) -> None:
        asked: Any = {"model": model, "messages": [{"role": "user", "content": "Tell me a story."}]}
        while not stop.is_set():
            async for _ in await client.chat.completions.create(**asked, stream=True):
                if stop.is_set():
                    return

    async def all_ask() -> None:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            [model, *_] = (await client.models.list()).data
            await asyncio.gather(*(ask(client, model.id) for _ in range(count)))

    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(asyncio.run, all_ask())
        try:
            yield
        finally:
            stop.set()
        asking.result()


def first_view(browser: Browser, url: str, view: View) -> float:
    """Seconds from the address to something to read, in a browser that has nothing yet."""
    with visit(browser, "about:blank") as tab:
        started = time.perf_counter()
        tab.goto(f"{url}/#/{view.path}")
        tab.locator(view.first).first.wait_for()
        return time.perf_counter() - started


def scrolled(tab: Page, view: View, seconds: float) -> dict[str, float]:
    """Scroll so many pixels with each frame, and see how often one was drawn."""
    most = {"selector": view.scroller, "pixels": PIXELS, "ms": 1000 * seconds}
    found: dict[str, float] = tab.evaluate(SCROLL, most)
    return found


def measured(browser: Browser, url: str, view: View, seconds: float) -> str:
    """A row of the table."""
    times = [first_view(browser, url, view) for _ in range(VIEWS)]
    with visit(browser, f"{url}/#/{view.path}") as tab:
        tab.locator(view.first).first.wait_for()
        found = scrolled(tab, view, seconds)
    first = f"{statistics.median(times):.2f} | {max(times):.2f}"
    drawn = f"{found['rate']:.0f} | {found['longest']:.0f} | {found['pixels']:.0f}"
    return f"| {view.name} | {first} | {drawn} |"


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="that answers meanwhile; a script if none is named")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the log")
    parser.add_argument("--answers", type=int, default=8, help="that stream meanwhile")
    parser.add_argument("--seconds", type=float, default=5.0, help="for which each is scrolled")
    return parser.parse_args()


def main() -> None:
    """Measure, and print the table as it comes."""
    asked = parsed()
    packed = sum(file.stat().st_size for file in page.BUILT.rglob("*.gz"))
    meanwhile = f"{asked.answers} answers of {asked.model or 'a script'} stream meanwhile"
    print(f"{os.cpu_count()} cores, {platform.machine()}; {meanwhile}; ", end="")
    print(f"the whole page is {packed / 1000:.0f} KB, compressed\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        long_one = asyncio.run(write_log(folder, asked.rows))
        steps = f"trajectories?open={long_one}"
        views = (
            View(f"{asked.rows:,} rows", "trajectories", ".list .body .asked", ".list"),
            View(f"{STEPS} steps", steps, ".story article", ".story"),
        )
        print(
            "| view | first view, s | longest | frames a second | longest, ms | pixels scrolled |"
        )
        print("|---|---:|---:|---:|---:|---:|")
        with (
            served(folder, asked.model) as url,
            chromium() as browser,
            answering(url, asked.answers),
        ):
            for view in views:
                print(measured(browser, url, view, asked.seconds), flush=True)


if __name__ == "__main__":
    main()
