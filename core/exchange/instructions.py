"""Rows of one question and its answer: Alpaca, prompt and completion, query and response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from agentlm.exchange.calls import RowTurn
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
    """`instruction`, with `input` below it, is answered by `output`."""
    parsed = parse_row(_Alpaca, row)
    question = "\n\n".join(filter(None, (parsed.instruction, parsed.input)))
    exchanges = [*(parsed.history or ()), (question, parsed.output)]
    row_turns = _exchanges(exchanges, "instruction", "output")
    return _trajectory(row, row_turns, parsed, {"instruction", "input", "output", "history"})


def from_query(row: object) -> Trajectory:
    """`query` is answered by `response`; `history` comes before."""
    parsed = parse_row(_Query, row)
    exchanges = [*(parsed.history or ()), (parsed.query, parsed.response)]
    row_turns = _exchanges(exchanges, "query", "response")
    return _trajectory(row, row_turns, parsed, {"query", "response", "history"})


def from_completion(row: object) -> Trajectory:
    """`prompt` and `completion`, both texts or both turns. Only the completion is learned."""
    parsed = parse_row(_Completion, row)
    prompt = _part(parsed.prompt, "prompt", "user")
    context = [turn._replace(loss=turn.loss and False) for turn in prompt]
    row_turns = [*context, *_part(parsed.completion, "completion", "assistant")]
    return _trajectory(row, row_turns, parsed, {"prompt", "completion"})


def _trajectory(
    row: Any, row_turns: Sequence[RowTurn], common: Common, own: set[str]
) -> Trajectory:
    check_keys(row, COMMON_KEYS | own, [turn.text for turn in row_turns])
    return trajectory_of(row_turns, common, named=False)


def _exchanges(exchanges: Exchanges, question_key: str, answered: str) -> list[RowTurn]:
    return [
        turn
        for question, answer in exchanges
        for turn in (
            RowTurn(question_key, "user", question),
            RowTurn(answered, "assistant", answer, loss=True),
        )
    ]


def _part(value: str | list[Any], key: str, role: str) -> list[RowTurn]:
    if isinstance(value, list):
        return read_turns(value, key)
    return read_turns([{"role": role, "content": value}], key)
