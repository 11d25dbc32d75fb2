"""A log that an earlier version wrote gives the rows it gave then, and goes on where it went on.

`log_before/` holds the log of `support.varied_log.play` (as SQL), the tokenizer that it was served
with, requests that go on with its conversations, and what the version that wrote it made of it all.
It was written by commit 7008efe. A change that fails here changes what recorded conversations mean.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agentlm.models.registry import Registry
from support import tiny, varied_log

BEFORE = Path(__file__).with_name("log_before")
EXPECTED: dict[str, Any] = json.loads((BEFORE / "expected.json").read_text())


@pytest.fixture
def served(tmp_path: Path) -> Path:
    directory = tmp_path / "served"
    directory.mkdir()
    return directory


@pytest.fixture
def log(served: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tiny, "_trained", lambda *_: (BEFORE / "tokenizer.json").read_text())
    path = served / "agentlm.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((BEFORE / "log.sql").read_text())
    return path


def test_the_same_ids_are_learned_from_the_same_trajectories(log: Path, tmp_path: Path) -> None:
    assert varied_log.rows(log, tmp_path / "trained") == EXPECTED["rows"]


def test_others_are_given_the_same_rows(log: Path) -> None:
    assert varied_log.exports(log) == EXPECTED["exports"]


async def test_conversations_go_on_from_the_same_steps_with_the_same_prompt(log: Path) -> None:
    found = await varied_log.continuations(log.parent, EXPECTED["requests"])

    assert len(found) == 18
    for one, then in zip(found, EXPECTED["continuations"], strict=True):
        assert one == then


async def test_a_log_written_now_goes_on_at_the_same_places(served: Path) -> None:
    requests = await varied_log.play(served)
    Registry(served).remove("teacher")  # it will listen elsewhere
    found = await varied_log.continuations(served, requests)

    assert list(map(_place, found)) == list(map(_place, EXPECTED["continuations"]))


def _place(found: dict[str, Any]) -> tuple[str, bool, bool, int | None]:
    return found["asked"], found["extends"] is None, found["forks"] is None, found["at"]
