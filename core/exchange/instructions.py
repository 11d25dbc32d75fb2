"""Rows of one question and its answer: Alpaca's, prompt and completion, query and response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from agentlm.exchange.calls import Said
from agentlm.exchange.conversation import read_turns, trajectory_of
from agentlm.exchange.keys import check_keys
from agentlm.exchange.spelling import COMMON_KEYS, Common
from agentlm.exchange.turns import parse_row
from agentlm.trajectory import Trajectory

Exchanges = list[tuple[str, str]]
"""Earlier questions, each with its answer."""


class _Alpaca(Common):
    instruction: str
    input: str | None = None
    output: str
    history: Exchanges | None = None


class _Query(Common):
    query: str
    response: str
    history: Exchanges | None = None


class _Completion(Common):
    prompt: str | list[Any] = Field(min_length=1)
    completion: str | list[Any]


def from_alpaca(row: object) -> Trajectory:
    """`instruction`, and what it is about below it in `input`, are answered by `output`."""
    parsed = parse_row(_Alpaca, row)
    question = "\n\n".join(filter(None, (parsed.instruction, parsed.input)))
    asked = [*(parsed.history or ()), (question, parsed.output)]
    said = _exchanges(asked, "instruction", "output")
    return _trajectory(row, said, parsed, {"instruction", "input", "output", "history"})


def from_query(row: object) -> Trajectory:
    """`query` is answered by `response`, after what `history` holds."""
    parsed = parse_row(_Query, row)
    asked = [*(parsed.history or ()), (parsed.query, parsed.response)]
    said = _exchanges(asked, "query", "response")
    return _trajectory(row, said, parsed, {"query", "response", "history"})


def from_completion(row: object) -> Trajectory:
    """`prompt` and `completion`, both texts or both turns; only the completion is learnt."""
    parsed = parse_row(_Completion, row)
    prompt = _part(parsed.prompt, "prompt", "user")
    context = [turn._replace(loss=turn.loss and False) for turn in prompt]
    said = [*context, *_part(parsed.completion, "completion", "assistant")]
    return _trajectory(row, said, parsed, {"prompt", "completion"})


def _trajectory(row: Any, said: Sequence[Said], common: Common, own: set[str]) -> Trajectory:
    check_keys(row, COMMON_KEYS | own, [turn.text for turn in said])
    return trajectory_of(said, common, named=False)


def _exchanges(exchanges: Exchanges, asked: str, answered: str) -> list[Said]:
    return [
        turn
        for question, answer in exchanges
        for turn in (
            Said(asked, "user", question),
            Said(answered, "assistant", answer, loss=True),
        )
    ]


def _part(value: str | list[Any], key: str, role: str) -> list[Said]:
    if isinstance(value, list):
        return read_turns(value, key)
    return read_turns([{"role": role, "content": value}], key)
