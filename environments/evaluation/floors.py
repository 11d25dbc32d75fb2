"""The scores of players without any skill on the same tasks as a report.

A success rate says little without the rates of an answer that never changes and of random calls.
Both are measured with the environment's own scoring. The constant answer is the best of the most
frequent right answers, given without a single call.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from pydantic import ValidationError

from agentlm.environments.evaluation.family import Family
from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import GoldPlayer, Player, RandomPlayer
from agentlm.environments.task import OBSERVED, Environment, Task
from agentlm.files import write_text
from agentlm.messages import Frozen

T = TypeVar("T")

_OVERALL = 8
_OF_A_FAMILY = 2
"""How many of the most frequent right answers are tried."""


class Floor(Frozen):
    """The scores of players without skill on a set of tasks, or on a part of it."""

    constant: float
    """Success of the best constant answer."""
    answer: str
    random: float
    """Success of a player that makes random calls with words of the task."""
    tasks: int


class Floors(Frozen):
    """The floors of one environment."""

    all: Floor
    families: dict[str, Floor]
    """Kind of problem → its own floor, since its best constant answer may differ."""


class Floored(Frozen):
    """The results of one task."""

    family: str
    constants: dict[str, bool]
    """Answer → whether it was right."""
    random: bool


async def floors_of(family: Family) -> Floors:
    """The floors of these tasks, measured once and then kept."""
    tasks = await family.tasks()
    file = family.floor_file(tasks)
    if (kept := _read(file)) is not None and not family.settings.fresh:
        return kept
    settings = family.settings
    measured = await measure(await family.environment(), tasks, settings.seed, settings.concurrency)
    floors = summed_up(measured)
    write_text(file, floors.model_dump_json() + "\n")
    return floors


async def measure(
    environment: Environment, tasks: Sequence[Task], seed: int, concurrency: int
) -> list[Floored]:
    """The results of every task, except those whose world breaks: that is no player's result."""
    slots = asyncio.Semaphore(concurrency)

    async def each(work: Callable[[Task], Awaitable[T]]) -> list[T]:
        async def one(task: Task) -> T:
            async with slots:
                return await work(task)

        return await asyncio.gather(*map(one, tasks))

    answers = await each(lambda task: _right_answer(environment, task))
    candidates = _candidates(tasks, answers)
    results = await each(
        lambda task: _floored(environment, task, candidates[task.family], RandomPlayer(seed))
    )
    return [floored for floored in results if floored is not None]


def summed_up(measured: Sequence[Floored]) -> Floors:
    """The best constant answer of all, and of each kind of problem."""
    families: dict[str, list[Floored]] = defaultdict(list)
    for floored in measured:
        families[floored.family].append(floored)
    return Floors(
        all=_floor(measured),
        families={name: _floor(part) for name, part in sorted(families.items())},
    )


def _floor(measured: Sequence[Floored]) -> Floor:
    if not measured:
        return Floor(constant=0, answer="", random=0, tasks=0)
    right = Counter(
        answer for floored in measured for answer, holds in floored.constants.items() if holds
    )
    answer, count = right.most_common(1)[0] if right else ("", 0)
    return Floor(
        constant=count / len(measured),
        answer=answer,
        random=fmean(floored.random for floored in measured),
        tasks=len(measured),
    )


async def _right_answer(environment: Environment, task: Task) -> str:
    """The expert's answer. If it depends on the world, the expert plays."""
    answer = task.gold[-1].answer or "" if task.gold else ""
    if OBSERVED not in answer:
        return answer
    run = await play(environment, task, GoldPlayer())
    return (run.exchanges[-1].answer or "") if run.exchanges else ""


def _candidates(tasks: Sequence[Task], answers: Sequence[str]) -> dict[str, list[str]]:
    """Family → the answers to try on its tasks: its own most frequent ones, and the overall
    ones."""
    by_family: dict[str, Counter[str]] = defaultdict(Counter)
    for task, answer in zip(tasks, answers, strict=True):
        by_family[task.family][answer] += 1
    overall = [answer for answer, _ in Counter(answers).most_common(_OVERALL)]
    return {
        family: list(dict.fromkeys(overall + [a for a, _ in counts.most_common(_OF_A_FAMILY)]))
        for family, counts in by_family.items()
    }


async def _floored(
    environment: Environment, task: Task, answers: Sequence[str], chance: Player
) -> Floored | None:
    try:
        async with environment.open(task) as world:
            scores = {answer: await world.score(answer) for answer in answers}
    except Exception:  # noqa: BLE001  a world that breaks has no score, whatever broke it
        return None
    random = await play(environment, task, chance)
    if random.broken is not None:
        return None
    return Floored(
        family=task.family,
        constants={answer: score >= 1 for answer, score in scores.items()},
        random=(random.reward or 0) >= 1,
    )


def _read(file: Path) -> Floors | None:
    try:
        return Floors.model_validate_json(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
