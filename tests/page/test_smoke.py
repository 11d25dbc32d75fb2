"""The page comes up in a browser, signed in, and holds to its own policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from agentlm.server.routes import page
from support.background import in_background
from support.browser import violations, visit
from support.serving import running


@pytest.mark.skipif(
    not (page.BUILT / "index.html").exists(), reason="the page was not built (make page)"
)
def test_the_page_comes_up_behind_a_key(browser: Browser, tmp_path: Path) -> None:
    options = {"api_key": "root"}
    with (
        in_background(running(tmp_path, [], "chatml", options)) as server,
        visit(browser, server.url) as tab,
    ):
        tab.get_by_label("API key").fill("wrong")
        tab.get_by_role("button", name="Sign in").click()
        tab.get_by_text("does not know this key").wait_for()
        assert violations(tab) == []
        tab.get_by_label("API key").fill("root")
        tab.get_by_role("button", name="Sign in").click()
        tab.get_by_role("link", name="Trajectories").click()

        expect(tab).to_have_title("Trajectories · AgentLM")
        assert (
            tab.evaluate("[localStorage, document.cookie].map(String).join().includes('root')")
            is False
        )
        assert tab.evaluate("Object.values(sessionStorage)") == ["root"]
        assert violations(tab) == []
