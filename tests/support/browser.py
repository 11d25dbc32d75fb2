"""Debian's Chromium, without a window: what a person sees of the page and does with it."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

T = TypeVar("T")

PATIENCE_MS = 60_000
"""A machine may be busy: what comes is waited for, what does not come costs this once."""
expect.set_options(timeout=PATIENCE_MS)

ROOT = Path(__file__).parents[2]
AXE = ROOT / "server/ui/node_modules/axe-core/axe.min.js"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SHOTS = os.environ.get("AGENTLM_SHOTS")
"""A folder for screenshots; without one, none are made."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; without Debian's Chromium, the test is skipped."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        arguments = [*sandbox, "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser: Browser, url: str, key: str | None = None, **options: Any) -> Iterator[Page]:
    """A tab of a person of their own, signed in with a key. What the page logs as an error fails
    the test: a script that broke, a rule of the policy that was run into."""
    complaints: list[str] = []
    context = browser.new_context(**options)
    try:
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda line: complaints.append(line.text) if _broken(line) else None)
        tab.goto(url)
        if key is not None:
            tab.get_by_label("API key").fill(key)
            tab.get_by_role("button", name="Sign in").click()
            tab.get_by_role("navigation").wait_for()
        yield tab
    finally:
        context.close()
    assert not complaints, complaints


def _broken(line: Any) -> bool:
    # Chromium logs each answer that is a refusal; what the page makes of those is tested as such.
    return line.type == "error" and "Failed to load resource" not in line.text


def elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine on another thread: on this one runs the browser's own event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def violations(tab: Page) -> list[str]:
    """What axe finds that keeps somebody from using the page, light or dark, at its two worst
    grades."""
    tab.evaluate(AXE.read_text())
    found = [violation for scheme in SCHEMES for violation in _violations(tab, scheme)]
    tab.emulate_media(color_scheme="light")
    return found


def _violations(tab: Page, scheme: Literal["light", "dark"]) -> list[str]:
    tab.emulate_media(color_scheme=scheme)
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{scheme}: {each['id']}: {each['help']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def shoot(tab: Page, name: str) -> None:
    """Make pictures of the page, light and dark, where somebody wants them."""
    if SHOTS is None:
        return
    for scheme in SCHEMES:
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_timeout(300)
        _keep(tab.screenshot(), ROOT / SHOTS / f"{name}-{scheme}.png")
    tab.emulate_media(color_scheme="light")


def _keep(picture: bytes, path: Path) -> None:
    """In few colours, because a page has few: a quarter of the bytes."""
    path.parent.mkdir(exist_ok=True)
    with Image.open(io.BytesIO(picture)) as drawn:
        few = drawn.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
