"""Pairs and labels of the page on formats are read as what it says they are."""

from __future__ import annotations

import json
from pathlib import Path
from re import findall
from typing import Any

import pytest

from agentlm.exchange.preferences import PAIR, read_judged

PAGE = (Path(__file__).parents[2] / "docs" / "data-formats.md").read_text()
EXAMPLES = [json.loads(block) for block in findall(r"```jsonl\n(.*?)\n```", PAGE)]


@pytest.mark.parametrize("row", EXAMPLES)
def test_every_example_is_read_with_its_rewards(row: dict[str, Any]) -> None:
    found = read_judged(row)

    assert [one.reward for one in found] == ([1.0] if "label" in row else [1.0, 0.0])
    assert [one.steps[-1].text for one in found] == ["Paris.", "Lyon."][: len(found)]
    assert len({one.metadata.get(PAIR) for one in found}) == 1
    assert (found[0].metadata.get(PAIR) is None) == ("label" in row)


@pytest.mark.parametrize("label", ["yes", None, 0.5, [True]])
def test_a_label_is_true_or_false(label: object) -> None:
    with pytest.raises(ValueError, match="label: true or false"):
        read_judged({"prompt": "a", "completion": "b", "label": label})


def test_pairs_with_tools_keep_them() -> None:
    tool = {"type": "function", "function": {"name": "bash", "description": "Run it."}}
    asked = {"messages": [{"role": "user", "content": "How many?"}], "tools": [tool]}
    answers = ([{"role": "assistant", "content": text}] for text in ("Twelve.", "Nine."))
    keys = ("preferred_output", "non_preferred_output")

    found = read_judged({"input": asked, **dict(zip(keys, answers, strict=True))})

    assert [[tool.name for tool in one.tools] for one in found] == [["bash"]] * 2
