"""Pictures of each page, light and dark, as docs/page.md shows them.

`AGENTLM_SHOTS=docs/images` makes them anew; without it each page is drawn all the same, and held to
having something to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from support.browser import shoot, visit
from support.serving import Running
from support.site import MADE, QUESTION, after_weeks

SIZE = {"width": 1280, "height": 760}
MOST_BYTES = 100_000
DOCS = Path(__file__).parents[2] / "docs"

PAGES = {
    "chat": ("chat?tools=bash", "12 programs in /usr/bin"),
    "trajectories": ("trajectories?open={solved}", "SELECT COUNT"),
    "tokens": ("trajectories?open={solved}&view=tokens", "Lisbon"),
    "training": ("training/ftjob-00aa", "84 of 240"),
    "models": (f"models/{MADE}", "Gain over"),
    "evaluations": (f"evaluations/gate-{MADE}", "+52.0%"),
    "health": ("health", "nightly"),
}
"""Name → address, and what must be in sight."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with after_weeks(tmp_path_factory.mktemp("site")) as server:
        yield server


@pytest.mark.ui
@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_a_server_in_use(browser: Browser, site: Running, name: str) -> None:
    path, text = PAGES[name]
    headers, _ = site.store.page(None, limit=40)
    solved = next(each.id for each in headers if each.environment == "db" and each.reward == 1)
    with visit(browser, site.url, "root", viewport=SIZE) as tab:
        tab.evaluate(f"location.hash = '#/{path.format(solved=solved)}'")
        if name == "chat":
            tab.get_by_label("Your message").fill(QUESTION)
            tab.keyboard.press("Enter")
        tab.locator("main").get_by_text(text).first.wait_for()
        shoot(tab, f"page-{name}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_the_docs_show_a_small_picture_of_each_page(name: str, scheme: str) -> None:
    picture = DOCS / "images" / f"page-{name}-{scheme}.png"
    assert f"(images/{picture.name})" in (DOCS / "page.md").read_text()
    assert 5_000 < picture.stat().st_size < MOST_BYTES
