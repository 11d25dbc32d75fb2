"""Fixtures shared by every test: little models on disk, and no settings from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiny import tiny_llama


@pytest.fixture(autouse=True)
def _no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AGENTLM_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def chatml_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "tiny-chatml", "chatml")


@pytest.fixture(scope="session")
def llama2_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama2", "llama2")
