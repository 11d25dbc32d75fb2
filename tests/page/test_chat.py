"""Chat: an agent acts before one's eyes, and does what it is allowed to."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from agentlm.store import ApiKey
from support.background import in_background
from support.browser import ROOT, elsewhere, shoot, violations, visit
from support.serving import Bash, Running, running

pytestmark = pytest.mark.ui

EXAMPLES = ROOT / "server/ui/src/pages/chat/examples.json"
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls -l"}'
FINAL = "Thought: I saw it.\nFinal Answer: Two programs."
ATTACK = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@contextmanager
def serving(directory: Path, *replies: str, **options: Any) -> Iterator[Running]:
    options = {"api_key": "root"} | options
    with in_background(running(directory, replies, "chatml", options)) as server:
        yield server


def ask(tab: Any, text: str) -> None:
    tab.get_by_label("Your message").fill(text)
    tab.get_by_role("button", name="Send").click()


def test_an_agent_is_watched_as_it_acts(browser: Browser, tmp_path: Path) -> None:
    with (
        serving(tmp_path, CALL, FINAL, "Again.") as server,
        visit(browser, server.url, "root") as tab,
    ):
        tab.get_by_text("bash", exact=True).first.click()
        ask(tab, "How many programs?")
        expect(tab.get_by_text("Two programs.")).to_be_visible()
        expect(tab.get_by_text("I look.")).to_be_visible()
        expect(tab.get_by_text("ran ls -l")).to_be_visible()
        shoot(tab, "chat")
        assert violations(tab) == []
        for width in (360, 2560, 1280):
            tab.set_viewport_size({"width": width, "height": 720})
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        ask(tab, "And now?")
        expect(tab.get_by_text("Again.")).to_be_visible()
        assert len(server.trajectories()) == 1
        tab.get_by_role("link", name="The trajectory").last.click()
        expect(tab.get_by_role("region", name="Steps").get_by_text("Two programs.")).to_be_visible()


class Sql(Bash):
    """Run one SQL statement."""

    name = "sql"


@pytest.mark.parametrize("name", ["smollm2-135m", "agentlm-135m"])
def test_the_tasks_to_begin_with_are_those_that_the_model_solves(
    browser: Browser, tmp_path: Path, name: str
) -> None:
    offered = json.loads(EXAMPLES.read_text())[name]
    with (
        serving(tmp_path, FINAL, name=name, families={"sql": (Sql(),)}) as server,
        visit(browser, server.url, "root") as tab,
    ):
        buttons = tab.get_by_role("log").get_by_role("button")
        expect(buttons).to_have_count(len(offered))
        for button, example in zip(buttons.all(), offered, strict=True):
            expect(button).to_contain_text(example["text"])
        buttons.first.click()
        expect(tab.get_by_role("link", name="The trajectory")).to_be_visible()
        assert server.engine.requests[0].sampling.temperature == 0


@pytest.mark.parametrize(("button", "seen"), [("Approve", "ran ls -l"), ("Deny", "denied")])
def test_a_call_waits_for_a_person(
    browser: Browser, tmp_path: Path, button: str, seen: str
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("tools:\n  bash: ask\n")
    with (
        serving(tmp_path, CALL, FINAL, tool_policy=policy, approval_wait_s=60) as server,
        visit(browser, f"{server.url}/#/chat?tools=bash", "root") as tab,
    ):
        ask(tab, "How many programs?")
        expect(tab.get_by_role("group", name="A call waits for you")).to_be_visible()
        shoot(tab, "approval")
        assert server.bash.calls == []
        tab.get_by_role("button", name=button).click()
        expect(tab.get_by_text("Two programs.")).to_be_visible()
        expect(tab.get_by_text(seen).first).to_be_visible()
        assert server.bash.calls == (["ls -l"] if button == "Approve" else [])


def test_a_key_that_may_not_decide_is_offered_no_decision(browser: Browser, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("tools:\n  bash: ask\n")
    with serving(tmp_path, CALL, FINAL, tool_policy=policy, approval_wait_s=60) as server:
        secret = elsewhere(server.store.keys.create(ApiKey(name="bob")))
        with visit(browser, f"{server.url}/#/chat?tools=bash", secret) as tab:
            ask(tab, "How many programs?")
            expect(tab.get_by_text("waits for somebody")).to_be_visible()
            assert tab.get_by_role("button", name="Approve").count() == 0
            tab.get_by_role("button", name="Stop").click()
            expect(tab.get_by_text("You stopped it.")).to_be_visible()


def test_an_answer_is_stopped_and_asked_for_again(browser: Browser, tmp_path: Path) -> None:
    with (
        serving(tmp_path, "word " * 2000, "Short.", delay_s=0.02) as server,
        visit(browser, server.url, "root") as tab,
    ):
        ask(tab, "Talk.")
        expect(tab.get_by_text("word word").first).to_be_visible()
        tab.get_by_role("button", name="Stop").click()
        expect(tab.get_by_text("You stopped it.")).to_be_visible()
        tab.get_by_role("button", name="Go on").click()
        expect(tab.get_by_text("Short.")).to_be_visible()


def test_a_stream_that_is_cut_is_said_and_keeps_what_came(browser: Browser, tmp_path: Path) -> None:
    with (
        serving(tmp_path, "word " * 2000, "Whole.", delay_s=0.02) as server,
        visit(browser, server.url, "root") as tab,
        cuts(server) as cut,
    ):
        tab.route("**/v1/chat/completions", lambda route: route.continue_(url=cut))
        ask(tab, "Talk.")
        expect(tab.get_by_text("The connection was cut.")).to_be_visible()
        expect(tab.get_by_text("word").first).to_be_visible()
        tab.unroute("**/v1/chat/completions")
        tab.get_by_role("button", name="Try again").click()
        expect(tab.get_by_text("Whole.")).to_be_visible()


@contextmanager
def cuts(server: Running) -> Iterator[str]:
    """A way to the same server that breaks after some of an answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def relay() -> None:
        there, _ = listener.accept()
        host, port = server.url.removeprefix("http://").split(":")
        with there, socket.create_connection((host, int(port))) as here:
            own = listener.getsockname()[1]
            here.sendall(_whole_request(there).replace(f":{own}".encode(), f":{port}".encode()))
            for _ in range(8):
                there.sendall(here.recv(4096))
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"
    listener.close()


def _whole_request(there: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += there.recv(65536)
    head, _, body = head.partition(b"\r\n\r\n")
    (length,) = re.findall(rb"content-length: *(\d+)", head, re.IGNORECASE)
    while len(body) < int(length):
        body += there.recv(65536)
    return head + b"\r\n\r\n" + body


SHIFTS = """() => {
    window.shifts = [];
    new PerformanceObserver((list) => {
        for (const { sources } of list.getEntries())
            for (const { node } of sources) window.shifts.push(node?.outerHTML?.slice(0, 200));
    }).observe({ type: "layout-shift" });
}"""


OTHERS = {
    "id": "appr_1",
    "owner": "bob",
    "call": {"name": "bash", "arguments": "{}"},
    "expires": 2e9,
    "trajectory_id": "traj_00",
}
"""A call of somebody else's that waits."""
LONG = f"Thought: I saw it.\nFinal Answer: {'word ' * 400}"


def test_nothing_jumps_while_an_answer_comes(browser: Browser, tmp_path: Path) -> None:
    waiting: dict[str, list[dict[str, Any]]] = {"data": []}
    with (
        serving(tmp_path, CALL, LONG, delay_s=0.01) as server,
        visit(browser, f"{server.url}/#/chat?tools=bash", "root") as tab,
    ):
        composer = tab.get_by_label("Your message")
        tab.route("**/v1/approvals", lambda route: route.fulfill(json=waiting))
        before = composer.bounding_box()
        tab.evaluate(SHIFTS)
        ask(tab, "Talk.")
        expect(tab.get_by_text("word word").first).to_be_visible()
        waiting["data"].append(OTHERS)
        expect(tab.get_by_text("A call waits")).to_be_visible()
        expect(tab.get_by_role("link", name="The trajectory", exact=True)).to_be_visible()
        assert tab.evaluate("window.shifts") == []
        assert composer.bounding_box() == before


def test_what_a_model_says_is_text(browser: Browser, tmp_path: Path) -> None:
    call = f'Thought: {ATTACK}\nAction: bash\nAction Input: {{"command": "<svg onload=x>"}}'
    with (
        serving(tmp_path, call, f"Thought: x\nFinal Answer: {ATTACK}") as server,
        visit(browser, f"{server.url}/#/chat?tools=bash", "root") as tab,
    ):
        ask(tab, ATTACK)
        expect(tab.get_by_text("<script>")).to_have_count(3)
        expect(tab.get_by_text("ran <svg onload=x>")).to_be_visible()
        assert tab.locator("main script, main img, main svg").count() == 0
        assert tab.title() == "Chat · AgentLM"


def test_a_refusal_is_told_in_the_servers_words(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, "x") as server, visit(browser, server.url, "root") as tab:
        ask(tab, "word " * 9000)
        expect(tab.get_by_role("alert")).to_contain_text("tokens")
