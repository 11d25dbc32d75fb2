"""What a source of general rows is called on the command line."""

from __future__ import annotations

import pytest

from agentlm.errors import OperatorError
from agentlm.finetune.data.sources import parse_general


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
