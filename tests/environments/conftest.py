"""Where the public task files are: beside the project, never in it."""

from __future__ import annotations

from pathlib import Path

import pytest

_AGENTBENCH = Path(__file__).resolve().parents[3] / "shared" / "data" / "agentbench"


@pytest.fixture
def agentbench() -> Path:
    if not _AGENTBENCH.is_dir():
        pytest.skip(f"AgentBench's task files are not at {_AGENTBENCH}")
    return _AGENTBENCH


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.0)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.0)
