"""Every page while it has nothing yet, has nothing at all, is refused, or is cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Route, expect

from support.background import in_background
from support.browser import violations, visit
from support.serving import Running, running

pytestmark = pytest.mark.ui

ATTACK = "<img src=x onerror=\"document.title='owned'\">"
ID = "traj_00"

PAGES = {
    "chat": ("/v1/models", "Ask something"),
    "trajectories": ("/v1/trajectories?**", "Nothing was recorded yet"),
    "training": ("/v1/fine_tuning/jobs?**", "No job yet"),
    "training/new": ("/v1/fine_tuning/recipe", "What is left empty is as its default says."),
    "models": ("/v1/registry", "No name is given out yet"),
    "evaluations": ("/v1/evaluations?**", "Nothing was measured yet"),
    "health": ("/metrics", "No tool was called"),
}
"""Address → what it asks for first, and what it says on a server where nothing happened yet."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("idle")
    with in_background(running(directory, [], "chatml", {"api_key": "root"})) as server:
        yield server


@pytest.mark.parametrize("path", PAGES)
def test_a_page_says_that_it_waits_was_refused_was_cut_or_has_nothing(
    server: Running, browser: Browser, path: str
) -> None:
    asked, nothing = PAGES[path]
    held: list[Route] = []
    answers: list[Callable[[Route], object]] = [held.append]

    def refuse(route: Route) -> None:
        route.fulfill(status=500, json={"error": {"message": f"out of order {ATTACK}"}})

    with visit(browser, f"{server.url}/#/nowhere", "root") as tab:
        main = tab.locator("main")
        expect(main.get_by_text("There is no such page")).to_be_visible()
        tab.route(f"**{asked}", lambda route: answers[-1](route))
        tab.evaluate(f"location.hash = '#/{path}'")
        expect(main.get_by_text("Loading").first).to_be_visible()
        assert violations(tab) == []
        answers.append(refuse)
        for route in held:
            refuse(route)
        expect(main.get_by_role("alert").get_by_text(ATTACK)).to_be_visible()
        assert violations(tab) == []
        answers.append(Route.abort)
        main.get_by_role("button", name="Try again").click()
        expect(main.get_by_text("The connection was cut")).to_be_visible()
        answers.append(Route.continue_)
        main.get_by_role("button", name="Try again").click()
        expect(main.get_by_text(nothing).first).to_be_visible()
        assert violations(tab) == []
        assert tab.title().endswith(" · AgentLM")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (f"trajectories?open={ID}", "no trajectory"),
        ("trajectories?min_reward=many", "min_reward"),
        ("trajectories?colour=blue", "colour"),
        ("training/ftjob-none", "no fine-tuning job"),
        ("models/nobody", "There is no such model"),
        ("evaluations/none", "no evaluation"),
        (f"trajectories?text={ATTACK}", "Nothing matches"),
        (f"models/{ATTACK.replace('/', '')}", "There is no such model"),
        (f"chat?model={ATTACK}&tools={ATTACK}", "Ask something"),
    ],
)
def test_an_address_that_leads_nowhere_says_so(
    server: Running, browser: Browser, path: str, said: str
) -> None:
    with visit(browser, server.url, "root") as tab:
        tab.evaluate("path => { location.hash = '#/' + path }", path)
        expect(tab.locator("main").get_by_text(said).first).to_be_visible()
        assert tab.locator("main img").count() == 0
        assert "owned" not in tab.title()
