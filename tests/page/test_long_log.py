"""A million rows: the page lists, filters, searches and reads on through all of them.

Writing them takes a minute or two, and 1.3 GB of disk. How fast the page is on them is measured by
tests/bench/bench_page.py.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from playwright.sync_api import Browser, Locator, expect

from support.background import in_background
from support.browser import elsewhere, visit
from support.long_log import RARE_EACH, WORD, write
from support.serving import Running, running

pytestmark = [pytest.mark.ui, pytest.mark.slow, pytest.mark.timeout(900)]

ROWS = 1_000_000
NEWEST = ROWS + 2
"""Its number: the two rows that the others are made of come first."""
MET = ROWS // RARE_EACH + 1
"""Rows that are rare."""
MOST_DRAWN = 120
MOST_S = 240


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("long")
    elsewhere(write(directory / "agentlm.db", ROWS, time.time()))
    with in_background(running(directory, [], "chatml", {"api_key": "root"})) as server:
        yield server
    shutil.rmtree(directory)


def asked(number: int) -> str:
    return f"Question {number}: how many of them are there?"


def seen(what: Locator) -> bool:
    return what.count() > 0


def read_on(grid: Locator, until: Callable[[], bool]) -> None:
    """Scroll down until something is so: a search for one word of a million rows takes a while."""
    end = time.monotonic() + MOST_S
    while time.monotonic() < end:
        if until():
            return
        # By half a view, so that no row passes between two looks: only those in view are drawn.
        grid.evaluate("at => at.scrollTop += at.clientHeight / 2")
        grid.page.wait_for_timeout(20)
    raise AssertionError(f"it was not so in {MOST_S} s")


def test_the_newest_come_first_and_the_list_reads_on(server: Running, browser: Browser) -> None:
    with visit(browser, f"{server.url}/#/trajectories", "root") as tab:
        grid = tab.get_by_role("grid")
        expect(grid.get_by_text(asked(NEWEST), exact=True)).to_be_visible()
        for back in range(99, 1_000, 100):
            read_on(grid, partial(seen, grid.get_by_text(asked(NEWEST - back), exact=True)))
        assert grid.get_by_role("row").count() < MOST_DRAWN
        grid.evaluate("at => at.scrollTop = 0")
        expect(grid.get_by_text(asked(NEWEST), exact=True)).to_be_visible()
        assert grid.get_by_role("row").count() < MOST_DRAWN


@pytest.mark.parametrize(
    "condition", ["model=rare", "environment=kg&outcomes=error", "tags.team=blue", f"text={WORD}"]
)
def test_a_condition_finds_the_few_among_them(
    server: Running, browser: Browser, condition: str
) -> None:
    with visit(browser, f"{server.url}/#/trajectories?{condition}", "root") as tab:
        grid = tab.get_by_role("grid")
        expect(grid.get_by_text(f"Where is the {WORD}?").first).to_be_visible()
        read_on(grid, lambda: grid.get_attribute("aria-rowcount") == str(1 + MET))
        assert grid.get_by_text("how many of them").count() == 0


def test_a_condition_that_none_meets_says_so(server: Running, browser: Browser) -> None:
    with visit(browser, f"{server.url}/#/trajectories?environment=zz", "root") as tab:
        expect(tab.get_by_text("Nothing matches")).to_be_visible()
