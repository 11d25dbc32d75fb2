"""Rows that judge answers: pairs of a better and a worse one, and labels.

| keys | what it is |
|---|---|
| `chosen`, `rejected`, and `prompt` unless both begin with it | a pair, as TRL writes it |
| `input`, `preferred_output`, `non_preferred_output` | a pair, as OpenAI's API takes it |
| `label`, with the keys of any other format | a thumb up (true) or down |

An answer is read by its own format, including turns with tools and calls. The better one gets
reward 1, the worse one 0. A row of any other format is read unchanged.
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
"""The metadata key whose value both trajectories of a pair share."""


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
    request = row.pop("input", None)
    if not isinstance(request, dict) or "messages" not in request:
        raise ValueError(f"input: an object with messages is needed, got {short(request)}")
    common = {key: value for key, value in request.items() if key != "messages"} | row
    answers = [_taken(common, key) for key in ("preferred_output", "non_preferred_output")]
    prompt = request["messages"]
    return _judged(answers, lambda text: from_completion(common | _completion(prompt, text)))


def _pair(row: dict[str, Any]) -> list[Trajectory]:
    answers = [_taken(row, key) for key in ("chosen", "rejected")]
    if row.get("prompt") is None:
        if not all(isinstance(answer, list) for answer in answers):
            raise ValueError("prompt: is missing, and chosen and rejected are no conversations")
        return _judged(answers, lambda text: from_openai(row | {"messages": text}))
    prompt = row.pop("prompt")
    return _judged(answers, lambda text: from_completion(row | _completion(prompt, text)))


def _taken(row: dict[str, Any], key: str) -> Any:
    value = row.pop(key, None)
    if not value:
        raise ValueError(f"{key}: a pair needs one, got {short(value)}")
    return value


def _completion(prompt: object, completion: object) -> dict[str, object]:
    return {"prompt": prompt, "completion": completion}


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
