from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from support.browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For a module without coroutines: a browser's own event loop runs on this thread meanwhile."""
    with chromium() as browser:
        yield browser
