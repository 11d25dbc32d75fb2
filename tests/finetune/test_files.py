"""A file that people wrote: what can't be learned from is told with its place, the rest is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentlm.errors import OperatorError
from agentlm.exchange.files import Malformed, read_rows
from agentlm.finetune.data.sources import parse_general


def chat(answer: str = "Paris.") -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": answer}]}


def malformed(path: Path) -> dict[str, str]:
    """The reasons, by place."""
    return {row.place: row.reason for row in read_rows(str(path)) if isinstance(row, Malformed)}


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_text_that_is_not_unicode_costs_its_own_row_only(tmp_path: Path, suffix: str) -> None:
    rows = [json.dumps(row).encode() for row in (chat(), chat("\ud83d"), chat("X"), chat())]
    rows[2] = rows[2].replace(b"X", b"caf\xe9")
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(b"\n".join(rows) if suffix == ".jsonl" else b"[" + b",".join(rows) + b"]")

    reason = "not Unicode: half a surrogate pair, or a byte that is no UTF-8"
    assert malformed(path) == {f"{path.name}:2": reason, f"{path.name}:3": reason}
    assert len(list(read_rows(str(path)))) == 4


def test_a_row_nested_too_deeply_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{100_000 * '['}\n{json.dumps(chat())}\n")

    assert list(malformed(path)) == ["rows.jsonl:1"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("log", ("log", 1)),
        ("chats.jsonl=0.5", ("chats.jsonl", 0.5)),
        ("date=2024/chats.jsonl", ("date=2024/chats.jsonl", 1)),
        ("date=2024/chats.jsonl=3", ("date=2024/chats.jsonl", 3)),
    ],
)
def test_a_general_source_has_the_weight_that_ends_it(text: str, meant: tuple[str, float]) -> None:
    assert parse_general(text) == meant


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_a_weight_by_which_nothing_can_be_mixed_is_refused(weight: str) -> None:
    with pytest.raises(OperatorError, match="the weight must be a number above 0"):
        parse_general(f"log={weight}")
