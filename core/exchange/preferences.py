"""Rows that say which answer is better, or whether one is good: pairs and labels.

| keys | what it is |
|---|---|
| `chosen`, `rejected`, and `prompt` unless both begin with it | a pair, as TRL writes it |
| `input`, `preferred_output`, `non_preferred_output` | a pair, as OpenAI's API takes it |
| `label`, with the keys of any other format | a thumb up (true) or down |

An answer is read by the format that it is written in, turns with tools and calls included. What is
better has the reward 1, what is worse 0. A row of any other format is read as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentlm.exchange import read_row
from agentlm.exchange.instructions import from_completion
from agentlm.exchange.keys import short
from agentlm.exchange.openai import from_openai
from agentlm.trajectory import Trajectory

PAIR = "pair"
"""The key of a trajectory's metadata that both of a pair have alike."""


def read_judged(row: object) -> list[Trajectory]:
    """The trajectories of a row. Raises ValueError if it is of no known format."""
    if not isinstance(row, dict):
        return [read_row(row)]
    if "preferred_output" in row or "non_preferred_output" in row:
        return _openai_pair(dict(row))
    if "chosen" in row or "rejected" in row:
        return _pair(dict(row))
    if "label" in row:
        return [_labelled(dict(row))]
    return [read_row(row)]


def _openai_pair(row: dict[str, Any]) -> list[Trajectory]:
    asked = row.pop("input", None)
    if not isinstance(asked, dict) or "messages" not in asked:
        raise ValueError(f"input: an object with messages is needed, got {short(asked)}")
    common = {key: value for key, value in asked.items() if key != "messages"} | row
    answers = [_taken(common, key) for key in ("preferred_output", "non_preferred_output")]
    prompt = asked["messages"]
    return _judged(answers, lambda said: from_completion(common | _completion(prompt, said)))


def _pair(row: dict[str, Any]) -> list[Trajectory]:
    answers = [_taken(row, key) for key in ("chosen", "rejected")]
    if row.get("prompt") is None:
        if not all(isinstance(answer, list) for answer in answers):
            raise ValueError("prompt: is missing, and chosen and rejected are no conversations")
        return _judged(answers, lambda said: from_openai(row | {"messages": said}))
    prompt = row.pop("prompt")
    return _judged(answers, lambda said: from_completion(row | _completion(prompt, said)))


def _taken(row: dict[str, Any], key: str) -> Any:
    value = row.pop(key, None)
    if not value:
        raise ValueError(f"{key}: a pair needs one, got {short(value)}")
    return value


def _completion(prompt: object, said: object) -> dict[str, object]:
    return {"prompt": prompt, "completion": said}


def _judged(answers: list[Any], read: Callable[[Any], Trajectory]) -> list[Trajectory]:
    better, worse = answers
    if better == worse:
        raise ValueError(f"both answers of the pair are the same: {short(better)}")
    good, bad = read(better), read(worse)
    shared = {PAIR: good.id}
    return [
        one.model_copy(update={"reward": reward, "metadata": one.metadata | shared})
        for one, reward in ((good, 1.0), (bad, 0.0))
    ]


def _labelled(row: dict[str, Any]) -> Trajectory:
    label = row.pop("label")
    if label not in (True, False):
        raise ValueError(f"label: true or false, got {short(label)}")
    return read_row(row).model_copy(update={"reward": float(label)})
