"""Fixtures shared by every test: little models, PostgreSQL, no settings from the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres import Postgres, postgres_programs
from support.serving import Serve, running
from support.tiny import tiny_llama


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers share files of tests, but those with a real engine or trainer go to one worker.

    So two of them never compete for the machine's cores and memory.
    """
    for item in items:
        real = item.get_closest_marker("real") is not None
        item.add_marker(pytest.mark.xdist_group("real" if real else item.nodeid.split("::")[0]))


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: postgresql)")
    server = Postgres.start(programs)
    yield server
    server.close()


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Start a server whose engine gives `replies` in order; options are its settings."""
    return lambda *replies, template="chatml", **options: running(
        tmp_path, replies, template, options
    )
