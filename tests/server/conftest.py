"""The fixture that every test of the server begins with."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import Serve, running


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Start a server whose engine gives `replies` in order; options are its settings."""
    return lambda *replies, template="chatml", **options: running(
        tmp_path, replies, template, options
    )
