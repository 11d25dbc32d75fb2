"""Trajectories: the log as a person looks through it, judges it and chooses from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Response, Route, expect

from agentlm.store import ApiKey, Entry, Header
from agentlm.trajectory import Feedback, Trajectory
from support.background import in_background
from support.browser import elsewhere, shoot, violations, visit
from support.records import CALL, TOOL, prompt, sampled, trajectory
from support.serving import Running, running

pytestmark = pytest.mark.ui

ATTACKS = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</pre><svg onload=document.title='owned'>",
    "{{constructor.constructor('document.title=1')()}}",
    "[a](javascript:document.title='owned')",
    "\u202egnirts\u202c \u0000 \x1b[31mred",
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with in_background(running(tmp_path, [], "chatml", {"api_key": "root"})) as server:
        yield server


def keep(server: Running, asked: str, answered: str, **fields: Any) -> Trajectory:
    header = trajectory(**({"tools": (TOOL,)} | fields))
    steps = (
        prompt([1, 2], asked),
        sampled([3, 4], f"Thought: look\n{answered}", thought="look", call=CALL),
        prompt([5], "a tool said this").model_copy(update={"role": "tool"}),
        sampled([6, 7, 8], answered, answer=answered),
    )
    elsewhere(server.store.append(Entry(header, 0, steps)))
    return header


def test_the_list_is_live_searched_and_kept_in_the_address(
    server: Running, browser: Browser
) -> None:
    keep(server, "How many zebras?", "Two.", model="other")
    keep(server, "How many lions?", "One.")
    with visit(browser, f"{server.url}/#/trajectories", "root") as tab:
        grid = tab.get_by_role("grid")
        expect(grid.get_by_text("How many lions?")).to_be_visible()
        keep(server, "This came later", "Yes.")
        expect(grid.get_by_text("This came later")).to_be_visible()
        tab.get_by_label("Search").fill("ZEBRAS")
        tab.get_by_role("button", name="Search").click()
        expect(grid.get_by_text("How many lions?")).to_have_count(0)
        expect(grid.get_by_text("How many zebras?")).to_be_visible()
        assert tab.url.endswith("/#/trajectories?text=ZEBRAS")
        tab.goto(f"{server.url}/#/trajectories?model=other")
        expect(grid.get_by_text("How many zebras?")).to_be_visible()
        expect(grid.get_by_text("How many lions?")).to_have_count(0)
        assert violations(tab) == []
        tab.goto(f"{server.url}/#/trajectories?model=none")
        expect(tab.get_by_text("Nothing matches")).to_be_visible()


def test_it_is_looked_through_by_keys(server: Running, browser: Browser) -> None:
    for number in range(3):
        keep(server, f"question {number}", f"answer {number}")
    with visit(browser, f"{server.url}/#/trajectories", "root") as tab:
        grid = tab.get_by_role("grid")
        expect(grid.get_by_text("question 2")).to_be_visible()
        grid.focus()
        tab.keyboard.press("Enter")
        steps = tab.get_by_role("region", name="Steps")
        expect(steps.get_by_text("answer 2", exact=True)).to_be_visible()
        tab.keyboard.press("j")
        expect(steps.get_by_text("answer 1", exact=True)).to_be_visible()
        tab.keyboard.press("ArrowUp")
        expect(steps.get_by_text("answer 2", exact=True)).to_be_visible()
        shoot(tab, "trajectories")
        assert violations(tab) == []


def test_the_one_that_is_open_stays_it_when_others_come(server: Running, browser: Browser) -> None:
    kept = [keep(server, f"question {number}", f"answer {number}") for number in range(4)]
    with visit(browser, f"{server.url}/#/trajectories?open={kept[1].id}", "root") as tab:
        grid, steps = tab.get_by_role("grid"), tab.get_by_role("region", name="Steps")
        expect(steps.get_by_text("answer 1", exact=True)).to_be_visible()
        keep(server, "This came later", "Yes.")
        expect(grid.get_by_text("This came later")).to_be_visible()
        grid.focus()
        tab.keyboard.press("j")
        expect(steps.get_by_text("answer 0", exact=True)).to_be_visible()
        tab.keyboard.press("k")
        keep(server, "This came last", "Yes.")
        expect(grid.get_by_text("This came last")).to_be_visible()
        tab.keyboard.press("k")
        expect(steps.get_by_text("answer 2", exact=True)).to_be_visible()


def test_every_condition_of_the_address_is_seen_and_taken_back(
    server: Running, browser: Browser
) -> None:
    keep(server, "How many?", "Two.", owner="bob", metadata={"team": "blue"})
    keep(server, "Whose is it?", "Mine.")
    conditions = "owner=bob&model=tiny&source=chat&outcomes=completed&since=30d&tags.team=blue"
    with visit(browser, f"{server.url}/#/trajectories?{conditions}", "root") as tab:
        grid = tab.get_by_role("grid")
        expect(grid.get_by_text("How many?")).to_be_visible()
        expect(grid.get_by_text("Whose is it?")).to_have_count(0)
        assert tab.get_by_label("Owner").input_value() == "bob"
        assert tab.get_by_label("Model").input_value() == "tiny"
        expect(tab.get_by_role("button", name="team=blue")).to_be_visible()
        tab.get_by_label("Begun before").fill("1d")
        tab.get_by_role("button", name="Apply").click()
        expect(tab.get_by_text("Nothing matches")).to_be_visible()
        assert parse_qs(urlsplit(tab.url).fragment.partition("?")[2])["until"] == ["1d"]
        tab.get_by_role("button", name="Clear").click()
        expect(grid.get_by_text("Whose is it?")).to_be_visible()


def test_it_is_judged_in_place(server: Running, browser: Browser) -> None:
    kept = keep(server, "How many?", "Two.")
    with visit(browser, f"{server.url}/#/trajectories?open={kept.id}", "root") as tab:
        tab.get_by_role("button", name="Good trajectory").click()
        expect(tab.get_by_text("reward 1")).to_be_visible()
        tab.get_by_role("button", name="Score, comment, correct: step 3").click()
        tab.get_by_label("Score, 0 to 1").fill("0.25")
        tab.get_by_role("textbox", name="Comment").fill("<b>off by one</b>")
        tab.get_by_label("What should have been said").fill("Three.")
        tab.get_by_role("button", name="Save").click()
        expect(tab.get_by_text("<b>off by one</b>")).to_be_visible()

    whole, step = server.trajectory(kept.id).feedback
    assert (whole.value, whole.step) == (True, None)
    assert (step.value, step.step, step.correction) == (0.25, 3, "Three.")


def test_its_tokens_and_its_record_are_shown_as_they_are(server: Running, browser: Browser) -> None:
    kept = keep(server, "How many?", "Two.")
    with visit(browser, f"{server.url}/#/trajectories?open={kept.id}&view=tokens", "root") as tab:
        region = tab.get_by_role("region", name="Tokens")
        expect(region.locator(".token")).to_have_count(8)
        assert "log-probability -0.750" in (
            region.locator(".token").nth(2).get_attribute("title") or ""
        )
        shoot(tab, "tokens")
        assert violations(tab) == []
        tab.get_by_role("button", name="Raw").click()
        expect(tab.get_by_text(f'"id": "{kept.id}"')).to_be_visible()


def test_forks_are_a_tree_and_stand_side_by_side(server: Running, browser: Browser) -> None:
    root = keep(server, "How many?", "Two.")
    fork = keep(server, "How many?", "Three.", parent_id=root.id, parent_step=0)
    elsewhere(server.store.mark_trained("tiny-ft", [root.id]))
    with visit(browser, f"{server.url}/#/trajectories?open={root.id}&view=forks", "root") as tab:
        expect(tab.get_by_text("tiny-ft")).to_be_visible()
        tab.get_by_role("button", name="beside this one").click()
        expect(tab.get_by_role("region", name=f"Trajectory {fork.id}")).to_be_visible()
        expect(tab.get_by_role("region", name=f"Trajectory {root.id}")).to_be_visible()
        tab.get_by_role("button", name="Timeline").first.click()
        expect(tab.get_by_text("Three.", exact=True)).to_be_visible()
        shoot(tab, "side-by-side")


def test_many_are_tagged_handed_to_training_and_deleted(server: Running, browser: Browser) -> None:
    kept = [keep(server, f"question {number}", "yes") for number in range(3)]
    elsewhere(server.store.mark_trained("tiny-ft", [kept[2].id]))
    with visit(browser, f"{server.url}/#/trajectories", "root") as tab:
        for number in (1, 2):
            tab.get_by_label(f"Select question {number}").check()
        with tab.expect_download() as download:
            tab.get_by_role("button", name="Export").click()
        lines = download.value.path().read_text().splitlines()
        assert [Trajectory.model_validate_json(line).id for line in lines] == [
            kept[1].id,
            kept[2].id,
        ]
        tab.get_by_role("button", name="Train on these").click()
        tab.get_by_label("Name of the selection").fill("mine")
        tab.get_by_role("button", name="Go on to Training").click()
        expect(tab).to_have_url(
            f"{server.url}/#/training/new?training_file=log%3Atags.mine%3Dselected"
        )
        assert [each.metadata for each in server.trajectories()] == [
            {},
            {"mine": "selected"},
            {"mine": "selected"},
        ]
        tab.go_back()
        tab.get_by_label("Select question 2").check()
        tab.get_by_label("Select question 1").click(modifiers=["Shift"])
        expect(tab.get_by_text("2 selected")).to_be_visible()
        tab.get_by_role("toolbar").get_by_role("button", name="Delete").click()
        expect(tab.get_by_role("dialog").get_by_text("tiny-ft")).to_be_visible()
        assert violations(tab) == []
        tab.get_by_role("button", name="Delete for good").click()
        expect(tab.get_by_role("dialog")).to_have_count(0)
        assert [each.id for each in server.trajectories()] == [kept[0].id]


def test_what_models_tools_and_people_say_is_text(server: Running, browser: Browser) -> None:
    attack = "\n".join(ATTACKS)
    kept = keep(
        server,
        attack,
        attack,
        model=ATTACKS[1],
        environment=ATTACKS[0],
        metadata={ATTACKS[0]: ATTACKS[1]},
    )
    feedback = Feedback(author="ann", value=False, comment=attack, correction=attack)
    elsewhere(server.store.add_feedback(feedback, trajectory_id=kept.id))
    with visit(browser, f"{server.url}/#/trajectories?open={kept.id}", "root") as tab:
        for view in ("Timeline", "Tokens", "Raw", "Forks"):
            tab.get_by_role("button", name=view, exact=True).click()
            tab.wait_for_timeout(200)
            assert (
                tab.locator("main script, main img, main svg, main a[href^=javascript]").count()
                == 0
            )
        assert tab.title() == "Trajectories · AgentLM"


def test_two_people_see_their_own(server: Running, browser: Browser) -> None:
    secret = elsewhere(server.store.keys.create(ApiKey(name="bob")))
    hers = keep(server, "Ann's question", "yes")
    his = keep(server, "Bob's question", "yes", owner="bob")
    with (
        visit(browser, f"{server.url}/#/trajectories", "root") as ann,
        visit(browser, f"{server.url}/#/trajectories", secret) as bob,
    ):
        expect(ann.get_by_text("Ann's question")).to_be_visible()
        expect(bob.get_by_text("Bob's question")).to_be_visible()
        assert bob.get_by_text("Ann's question").count() == 0
        answers: list[Response] = []
        bob.on("response", lambda answer: answers.append(answer))
        for address in (
            *(f"open={hers.id}&view={view}" for view in ("timeline", "tokens", "raw", "forks")),
            f"open={his.id}&beside={hers.id}",
            f"open={his.id[:-1]}",
        ):
            bob.goto(f"{server.url}/#/trajectories?{address}")
            expect(bob.get_by_text("no trajectory")).to_be_visible()
        for address in ("owner=ann", "owner=default", "text=Ann%27s"):
            bob.goto(f"{server.url}/#/trajectories?{address}")
            expect(bob.get_by_text("Nothing matches")).to_be_visible()
        told = [answer.text() for answer in answers if "/v1/trajectories" in answer.url]
        assert len(told) > 4  # the page asks once for what is not there
        assert not any("Ann's question" in text for text in told)


def test_500_steps_stay_few_on_the_page(server: Running, browser: Browser) -> None:
    header = trajectory()
    steps = [
        (prompt if number % 2 == 0 else sampled)([number % 8] * 40, f"word {number} " * 40)
        for number in range(500)
    ]
    elsewhere(server.store.append(Entry(header, 0, tuple(steps))))
    with visit(browser, f"{server.url}/#/trajectories?open={header.id}", "root") as tab:
        steps_shown = tab.get_by_role("region", name="Steps")
        expect(steps_shown.locator("article").first).to_be_visible()
        assert steps_shown.locator("article").count() < 60
        for _ in range(60):
            steps_shown.evaluate("at => at.scrollTop = at.scrollHeight")
            tab.wait_for_timeout(30)
        expect(steps_shown.get_by_label("Step 499", exact=True)).to_be_visible()
        assert steps_shown.locator("article").count() < 60


def test_a_million_rows_are_read_page_by_page(server: Running, browser: Browser) -> None:
    read: list[int] = []

    def answer(route: Route) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        first = int(asked["after"][0].removeprefix("traj_")) + 1 if "after" in asked else 0
        read.append(first)
        rows = [_header(number) for number in range(first, min(first + 100, 1_000_000))]
        more = first + 100 < 1_000_000
        route.fulfill(
            json={"object": "list", "data": rows, "last_id": rows[-1]["id"], "has_more": more}
        )

    with visit(browser, server.url, "root") as tab:
        tab.route("**/v1/trajectories?**", answer)
        tab.goto(f"{server.url}/#/trajectories?model=tiny")
        grid = tab.get_by_role("grid")
        expect(grid.get_by_text("question 0", exact=True)).to_be_visible()
        for page in range(1, 40):
            last = grid.get_by_text(f"question {page * 100 - 1}", exact=True)
            while last.count() == 0:
                grid.evaluate("at => at.scrollTop = at.scrollHeight")
                tab.wait_for_timeout(20)
        assert grid.get_by_role("row").count() < 120
        grid.focus()
        tab.keyboard.press("Home")
        expect(grid.get_by_text("question 0", exact=True)).to_be_visible()
        assert grid.get_by_role("row").count() < 120
        tab.keyboard.press("Shift+End")
        selected = tab.get_by_role("toolbar").get_by_text("selected").inner_text()
        assert int(re.sub(r"\D", "", selected)) in range(3_900, 4_300, 100)

    assert set(range(0, 3_900, 100)) <= set(read)


def _header(number: int) -> dict[str, Any]:
    header = Header(**trajectory(id=f"traj_{number}").model_dump(), step_count=3)
    return header.model_dump(mode="json") | {"preview": f"question {number}"}


def test_a_server_that_goes_away_is_said_and_comes_back(server: Running, browser: Browser) -> None:
    keep(server, "How many?", "Two.")
    with visit(browser, f"{server.url}/#/trajectories", "root") as tab:
        expect(tab.get_by_text("How many?")).to_be_visible()
        tab.context.set_offline(True)
        expect(tab.get_by_text("can’t be reached")).to_be_visible()
        expect(tab.get_by_text("How many?")).to_be_visible()
        tab.context.set_offline(False)
        expect(tab.get_by_text("can’t be reached")).to_have_count(0)


@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_nothing_is_cut_off_at_any_width(server: Running, browser: Browser, width: int) -> None:
    kept = keep(server, "How many programs in /usr/bin start with z?", "Two.")
    other = keep(server, "word" * 200, "word" * 200)
    size = {"width": width, "height": 800}
    with visit(
        browser, f"{server.url}/#/trajectories?open={kept.id}", "root", viewport=size
    ) as tab:
        expect(tab.get_by_text("Two.", exact=True)).to_be_visible()
        for view in ("Timeline", "Tokens", "Raw", "Forks"):
            tab.get_by_role("button", name=view, exact=True).click()
            assert _overflows(tab) is False
            assert violations(tab) == []
        tab.goto(f"{server.url}/#/trajectories?open={kept.id}&beside={other.id}&since=7d")
        expect(tab.get_by_role("region", name=f"Trajectory {other.id}")).to_be_visible()
        assert _overflows(tab) is False
        assert violations(tab) == []
        tab.get_by_role("link", name="Chat").click()
        expect(tab.get_by_label("Your message")).to_be_visible()
        assert _overflows(tab) is False


def _overflows(tab: Page) -> bool:
    found: bool = tab.evaluate("document.documentElement.scrollWidth > innerWidth")
    return found
