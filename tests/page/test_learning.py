"""Training, models, evaluations, health: what a person sees of learning, and does with it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from agentlm.models.registry import Registry
from agentlm.store import ApiKey
from support.background import in_background
from support.browser import shoot, violations, visit
from support.finetune_logs import registered
from support.learning import (
    JOB,
    MADE,
    begun,
    difference,
    evaluated,
    report,
    row,
    succeed,
    trained,
)
from support.serving import running

pytestmark = [pytest.mark.ui, pytest.mark.timeout(600)]

ATTACK = "<img src=x onerror=alert(1)></span><script>alert(1)</script>"


@dataclass(frozen=True)
class Site:
    """A server whose data directory has something of everything."""

    url: str
    ann: str
    """The secret of a key that is no administrator's."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chatml_llama: Path) -> Iterator[Site]:
    data_dir = tmp_path_factory.mktemp("site")
    registered(data_dir, chatml_llama)
    succeed(Registry(data_dir), data_dir, reasons=[ATTACK])
    trained(begun(data_dir), 60, 90, ATTACK)
    call = 'Thought: I look.\nAction: bash\nAction Input: {"command": "fail"}'
    options = {"api_key": "root"}
    with in_background(running(data_dir, [call, *["Hi."] * 50], "chatml", options)) as server:
        key = ApiKey(name="ann", requests_per_minute=600)
        with ThreadPoolExecutor() as pool:  # the browser's own loop runs in this thread
            secret = pool.submit(asyncio.run, server.store.keys.create(key)).result()
        answer = asked(server.url, "root", tools=[{"type": "bash"}])
        asked(server.url, secret)
        sets = report(row("tiny", 0.25), row(), differences=[difference("tiny", "next")])
        trajectory_id = answer.headers["x-trajectory-id"]
        evaluated(data_dir, "gate-next", sets, ("tiny", "next"), ATTACK, trajectory_id)
        evaluated(data_dir, "cut off", "{")
        yield Site(server.url, secret)


def asked(url: str, key: str, **fields: Any) -> httpx.Response:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], **fields}
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer


SEEN = {
    "training": ["ftjob-00aa", "paused", "log:environment=db"],
    f"training/{JOB}": [MADE, "60 of 90", "105 of 120 rows kept", "3 no answer"],
    "training/new": ["Model to train", "lora rank", "Rank of the adapter's matrices."],
    "models": ["Lineage", "next", "gate failed"],
    "models/next": [ATTACK, "In use", "25%"],
    "evaluations": ["gate-next", "+25.0%", "is not a report of agentlm eval"],
    "evaluations/gate-next": ["Candidate minus base", ATTACK, "Others at this task"],
    "health": ["Log losses", "bash", "ann", "600 a minute", "Engine, compiler and log take work."],
}


@pytest.mark.parametrize("path", SEEN)
def test_a_page_shows_what_there_is_as_text_to_everybody(
    browser: Browser, site: Site, path: str
) -> None:
    with visit(browser, site.url, "root") as tab:
        go(tab, path)
        tab.locator("main").get_by_text(SEEN[path][0]).first.wait_for()
        tab.evaluate(
            "for (const each of document.querySelectorAll('main details')) each.open = true"
        )
        for text in SEEN[path]:
            tab.locator("main").get_by_text(text).first.wait_for()

        assert tab.locator("main img, main script").count() == 0
        assert violations(tab) == []
        tab.reload()
        tab.locator("main").get_by_text(SEEN[path][0]).first.wait_for()
        shoot(tab, path.replace("/", "-").replace(JOB, "job"))
        for width in (360, 2560):
            tab.set_viewport_size({"width": width, "height": 800})
            wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            assert tab.evaluate(wide)


def test_who_is_no_administrator_sees_models_and_health_and_changes_nothing(
    browser: Browser, site: Site
) -> None:
    with visit(browser, site.url, site.ann) as tab:
        refused: list[str] = []
        tab.on("response", lambda answer: refused.append(answer.url) if answer.status > 400 else 0)
        for path in ("training", "evaluations", f"training/{JOB}", "evaluations/gate-next"):
            go(tab, path)
            tab.get_by_role("heading", name="For administrators").wait_for()
        go(tab, "models/next")
        tab.get_by_role("heading", name="next").wait_for()
        assert tab.get_by_role("button", name="Promote…").count() == 0
        go(tab, "health")
        tab.get_by_text("Log losses").wait_for()
        assert tab.get_by_text("Keys and their use").count() == 0
        assert refused == []


def test_a_version_is_promoted_with_a_reason_and_rolled_back_by_keyboard_alone(
    browser: Browser, site: Site
) -> None:
    with visit(browser, site.url, "root") as tab:
        promote(tab, "tiny", None)
        tab.get_by_text("production is tiny").wait_for()
        tab.get_by_text("Asked as production, tiny answered").wait_for()
        go(tab, "models/next")
        press(tab, "Promote…")
        press(tab.get_by_role("dialog"), "Promote")
        complaint = tab.get_by_role("dialog").get_by_role("alert")
        expect(complaint).to_contain_text(ATTACK)
        tab.keyboard.press("Escape")
        promote(tab, "next", f"a trial {ATTACK}")
        tab.get_by_text("production is next").wait_for()
        tab.get_by_text("Asked as production, next answered").wait_for()
        tab.get_by_text("History: 2").click()
        tab.get_by_text(f"a trial {ATTACK}").wait_for()
        press(tab, "Roll back…")
        press(tab.get_by_role("dialog"), "Roll back")
        tab.get_by_text("production is tiny").wait_for()
        tab.get_by_text("Asked as production, tiny answered").wait_for()
        tab.route("**/v1/chat/completions", lambda route: route.abort())
        press(tab, "Ask who answers")
        tab.get_by_text("Asked as production, nobody answered").wait_for()
        assert violations(tab) == []


LABELS = """() => {
    const texts = [], draw = CanvasRenderingContext2D.prototype;
    const [fill, clear] = [draw.fillText, draw.clearRect];
    draw.clearRect = function (...all) { texts.length = 0; clear.apply(this, all); };
    draw.fillText = function (text, x, y) {
        const wide = this.measureText(text).width;
        const left = { center: x - wide / 2, right: x - wide, end: x - wide }[this.textAlign] ?? x;
        texts.push({ text, y, left, right: left + wide });
        fill.call(this, text, x, y);
    };
    window.labels = texts;
}"""
"""Note what is written on a canvas, and where."""


@pytest.mark.parametrize("width", [360, 1280, 2560])
def test_no_label_of_a_curve_lies_over_another(browser: Browser, site: Site, width: int) -> None:
    with visit(browser, site.url, "root", viewport={"width": width, "height": 800}) as tab:
        tab.evaluate(LABELS)
        for path in ("health", f"training/{JOB}"):
            go(tab, path)
            tab.locator("canvas").wait_for()
            tab.wait_for_function("window.labels.length > 4")
            labels = sorted(tab.evaluate("window.labels"), key=lambda one: (one["y"], one["left"]))
            for one, next_ in pairwise(labels):
                assert one["y"] != next_["y"] or one["right"] < next_["left"], (one, next_)


def test_which_runs_are_shown_stands_in_the_address(browser: Browser, site: Site) -> None:
    with visit(browser, f"{site.url}/#/evaluations/gate-next", "root") as tab:
        runs = tab.get_by_role("region", name="Runs")
        chosen = runs.get_by_role("combobox", name="Runs")
        chosen.select_option("solved")
        runs.get_by_role("combobox", name="Model").select_option("next")
        expect(runs.get_by_text("tiny, unconstrained")).to_have_count(0)
        tab.reload()
        expect(runs.get_by_text("next, unconstrained")).to_have_count(2)
        assert runs.get_by_text("tiny, unconstrained").count() == 0
        assert chosen.input_value() == "false"


def test_a_setting_that_can_not_be_is_shown_where_it_stands(browser: Browser, site: Site) -> None:
    with visit(browser, site.url, "root") as tab:
        go(tab, "training/new?training_file=log:environment=db")
        tab.get_by_text("No trajectory meets these conditions.").wait_for()
        tab.get_by_text("How the weights are changed").click()
        tab.get_by_label("lora rank").fill("0")
        tab.get_by_role("button", name="Start", exact=True).click()
        tab.get_by_text("recipe.lora_rank: Input should be greater").wait_for()
        assert tab.get_by_label("lora rank").get_attribute("aria-invalid") == "true"


def test_a_job_is_cancelled_only_when_somebody_means_it(
    browser: Browser, tmp_path: Path, chatml_llama: Path
) -> None:
    registered(tmp_path, chatml_llama)
    begun(tmp_path)
    options = {"api_key": "root"}
    with (
        in_background(running(tmp_path, [], "chatml", options)) as server,
        visit(browser, f"{server.url}/#/training/{JOB}", "root") as tab,
    ):
        press(tab, "Cancel")
        press(tab.get_by_role("dialog"), "Let it run")
        expect(tab.get_by_role("dialog")).to_have_count(0)
        expect(tab.get_by_role("status").get_by_text("paused")).to_be_visible()
        press(tab, "Cancel")
        press(tab.get_by_role("dialog"), "Cancel the job")
        expect(tab.get_by_role("status").get_by_text("cancelled")).to_be_visible()
        expect(tab.get_by_role("button", name="Resume")).to_have_count(0)


@pytest.mark.real
@pytest.mark.timeout(1200)
def test_a_job_from_start_to_promotion(
    browser: Browser, tmp_path: Path, chatml_llama: Path
) -> None:
    registered(tmp_path, chatml_llama)
    registry = Registry(tmp_path)
    turns = [("user", "How many?"), ("assistant", "12 programs.")]
    rows = tmp_path / "rows.jsonl"
    messages = [{"role": role, "content": text} for role, text in turns]
    rows.write_text(json.dumps({"messages": messages}) + "\n")
    options = {"api_key": "root", "files": registry.resolve(registry.get("tiny"))}
    with (
        in_background(running(tmp_path, ["Hi."] * 9, "chatml", options)) as server,
        visit(browser, server.url, "root") as tab,
    ):
        go(tab, "training")
        tab.get_by_role("link", name="Start a job").click()
        tab.get_by_label("A file").check()
        tab.get_by_label("Or upload one").set_input_files(rows)
        expect(tab.get_by_label("An uploaded file")).to_have_value(re.compile("file-.+"))
        tab.get_by_text("How the weights are changed").click()
        tab.get_by_label("epochs").fill("2")
        tab.get_by_role("button", name="Start", exact=True).click()
        tab.get_by_role("button", name="Pause").click()
        tab.get_by_text("paused", exact=True).wait_for()
        tab.get_by_role("button", name="Resume").click()
        tab.get_by_text("succeeded").wait_for(timeout=900_000)
        tab.get_by_text("2 of 2").first.wait_for()
        expect(tab.locator("mark").last).to_contain_text("12 programs.")
        shoot(tab, "training-done")
        tab.get_by_role("link", name="Compare it with its parent").click()
        [made] = [card.name for card in registry.list() if card.parent == "tiny"]
        press(tab, "Promote…")
        tab.get_by_label("Reason").fill("a trial")
        press(tab.get_by_role("dialog"), "Promote")
        tab.get_by_text(f"production is {made}").wait_for()
        tab.get_by_text(f"Asked as production, {made} answered").wait_for()
        assert asked_as(server.url, "production") == made


def asked_as(url: str, alias: str) -> str:
    answer = asked(url, "root", model=alias).headers["x-trajectory-id"]
    headers = {"authorization": "Bearer root"}
    return str(httpx.get(f"{url}/v1/trajectories/{answer}", headers=headers).json()["model"])


def go(tab: Page, path: str) -> None:
    tab.evaluate(f"location.hash = '#/{path}'")


def press(where: Any, name: str) -> None:
    """By keyboard."""
    button = where.get_by_role("button", name=name, exact=True)
    button.focus()
    button.press("Enter")


def promote(tab: Page, model: str, reason: str | None) -> None:
    go(tab, f"models/{model}")
    tab.get_by_role("heading", name=model, exact=True).wait_for()
    press(tab, "Promote…")
    if reason is not None:
        tab.get_by_label("Reason").fill(reason)
    press(tab.get_by_role("dialog"), "Promote")
