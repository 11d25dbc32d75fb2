"""What an evaluation says: a row per set, model and way of decoding, and base beside candidate.

A try whose infrastructure failed is not in any rate. A row with such tries, or with fewer tries
than were asked for, says that it is incomplete.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count, takewhile
from statistics import fmean
from typing import NamedTuple

from agentlm.environments.error_classes import ERROR_CLASSES
from agentlm.environments.evaluation.floors import Floors
from agentlm.environments.evaluation.general_ability.probe import Ability
from agentlm.environments.evaluation.statistics import (
    Interval,
    paired_bootstrap,
    pass_at,
    wilson,
)
from agentlm.environments.playing.model_player import PlayedModel
from agentlm.environments.playing.progress import Result
from agentlm.messages import Frozen
from agentlm.trajectory import Outcome


class Counted(NamedTuple):
    """How many of the judged tries solved their task."""

    solved: int
    judged: int


class Row(Frozen):
    """One model on one set of tasks, decoded one way."""

    environment: str
    model: str
    decoding: str
    played: PlayedModel
    """Which weights on which server."""
    results: str = ""
    """The file of its tries, beside the report."""
    asked: int
    """Tries that were asked for."""
    judged: int
    """Tries that have a result."""
    failed: int
    """Tries that the infrastructure failed."""
    success: float
    """Share of solved tries."""
    interval: Interval
    """Wilson's 95% interval; the trials are the tasks, as tries at one task are not independent."""
    reward: float
    """Mean reward: for graded rewards (F1) more than the success."""
    pass_at: dict[int, float] = {}
    """k → chance that one of k tries solves a task; for 1, 2, 4 … and as many as were made, over
    the tasks with so many tries."""
    best: float = 0.0
    """Mean over the tasks of the best reward among all their tries."""
    error_classes: dict[str, float]
    """Share of the tries that show each class."""
    outcomes: dict[str, int]
    invented_calls: float
    """Share of the calls with a name that stands nowhere in the context."""
    floors: Floors
    """What players without skill score on these tasks."""
    families: dict[str, Counted]
    kinds: dict[str, Counted]
    """By the template that a task was made from."""
    turns: float
    prompt_tokens: float
    completion_tokens: float
    seconds: float
    """Means per try."""

    @property
    def complete(self) -> bool:
        """Whether every try that was asked for has a result."""
        return self.judged == self.asked


class Difference(Frozen):
    """Candidate minus base on the same tasks."""

    environment: str
    decoding: str
    base: str
    candidate: str
    tasks: int
    """Tasks that both have a result for."""
    clusters: int
    """Schemas or scenes that these are drawn from."""
    difference: float
    interval: Interval
    """Paired bootstrap over the clusters, 95%."""


class AbilityDifference(Frozen):
    """Candidate beside base in one measure of general ability, on the same cases."""

    measure: str
    base: str
    candidate: str
    value: float
    """Candidate minus base; of perplexities candidate / base, so that below 1 is better."""
    interval: Interval
    """Paired bootstrap over the cases, 95%."""
    cases: int


class Report(Frozen):
    settings: dict[str, object]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    abilities: tuple[Ability, ...] = ()
    ability_differences: tuple[AbilityDifference, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether no row lacks a try."""
        return all(row.complete for row in self.rows)

    @property
    def models(self) -> list[str]:
        """What the rows call them, in order."""
        return list(dict.fromkeys(row.model for row in self.rows))

    @property
    def measured(self) -> frozenset[tuple[str, ...]]:
        """The rows and abilities that it has, by what they were measured on."""
        which = [str(self.settings.get(key)) for key in ("tasks", "split", "seed")]
        rows = {(*which, row.environment, row.decoding, row.model) for row in self.rows}
        abilities = {(ability.measure, ability.model) for ability in self.abilities}
        return frozenset(rows | abilities)

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        sets = ", ".join(dict.fromkeys(row.environment for row in self.rows))
        source = self.settings.get("tasks") or f"{self.settings.get('split')} tasks"
        return f"{sets} ({source}): {' and '.join(self.models)}"

    @property
    def notes(self) -> list[str]:
        """What a reader must know beside the numbers."""
        played = {label: self._played(label) for label in self.models}
        last = {label: models[-1] for label, models in played.items()}
        notes = [f"{label}: {model.caution}" for label, model in last.items() if model.caution]
        notes += [
            f"{label}: its weights changed between the rows, which are of {len(models)} models"
            for label, models in played.items()
            if len(models) > 1
        ]
        versions = {model.weights_version for model in last.values()}
        if len(last) > 1 and len(versions) == 1 and None not in versions:
            notes.append(f"{' and '.join(last)} have the same weights")
        return notes

    def _played(self, label: str) -> list[PlayedModel]:
        """The models with this label, each once, in the order of the rows."""
        return list(dict.fromkeys(row.played for row in self.rows if row.model == label))


def row_of(
    results: Iterable[Result],
    *,
    environment: str,
    model: str,
    decoding: str,
    played: PlayedModel,
    results_file: str,
    asked: int,
    floors: Floors,
) -> Row:
    """Sum up the tries of one row."""
    every = list(results)
    judged = [result for result in every if result.outcome is not Outcome.ERROR]
    success = _mean(result.success for result in judged)
    tasks = len({result.task_id for result in judged})
    return Row(
        environment=environment,
        model=model,
        decoding=decoding,
        played=played,
        results=results_file,
        asked=asked,
        judged=len(judged),
        failed=len(every) - len(judged),
        success=success,
        interval=wilson(success, tasks),
        reward=_mean(result.reward or 0.0 for result in judged),
        pass_at=_passes(judged),
        best=_mean(map(max, _rewards(judged).values())),
        error_classes={
            name: _mean(name in result.error_classes for result in judged) for name in ERROR_CLASSES
        },
        outcomes=dict(Counter(result.outcome.value for result in every)),
        invented_calls=sum(result.invented for result in judged)
        / max(1, sum(result.calls for result in judged)),
        floors=floors,
        families=_counted(judged, lambda result: result.family),
        kinds=_counted(judged, lambda result: result.template),
        turns=_mean(result.turns for result in judged),
        prompt_tokens=_mean(result.prompt_tokens for result in judged),
        completion_tokens=_mean(result.completion_tokens for result in judged),
        seconds=_mean(result.seconds for result in judged),
    )


def difference_of(
    base: Sequence[Result],
    candidate: Sequence[Result],
    *,
    names: tuple[str, str],
    environment: str,
    decoding: str,
    seed: int,
) -> Difference:
    """Compare on the tasks that both have a result for."""
    before, after = _by_task(base), _by_task(candidate)
    both = sorted(before.keys() & after.keys())
    differences = [after[task] - before[task] for task in both]
    cluster = {result.task_id: result.cluster or result.task_id for result in candidate}
    clusters = [cluster[task] for task in both]
    return Difference(
        environment=environment,
        decoding=decoding,
        base=names[0],
        candidate=names[1],
        tasks=len(both),
        clusters=len(set(clusters)),
        difference=_mean(differences),
        interval=paired_bootstrap(differences, seed, clusters),
    )


def ability_difference(base: Ability, candidate: Ability, seed: int) -> AbilityDifference | None:
    """Compare one measure of two models; None if the two can't be paired case by case."""
    pairs = list(zip(base.scores, candidate.scores, strict=False))
    same = (base.measure, base.cases) == (candidate.measure, candidate.cases)
    if not pairs or not same or base.tokens != candidate.tokens:
        return None
    lost = [after - before for before, after in pairs]
    sizes = base.tokens or [1] * len(lost)
    value = sum(lost) / sum(sizes)
    low, high = paired_bootstrap(lost, seed, sizes=sizes)
    if base.tokens:
        value, low, high = math.exp(value), math.exp(low), math.exp(high)
    return AbilityDifference(
        measure=base.measure,
        base=base.model,
        candidate=candidate.model,
        value=value,
        interval=(low, high),
        cases=len(pairs),
    )


def _counted(judged: Iterable[Result], part: Callable[[Result], str]) -> dict[str, Counted]:
    grouped: dict[str, list[bool]] = defaultdict(list)
    for result in judged:
        grouped[part(result)].append(result.success)
    return {name: Counted(sum(solved), len(solved)) for name, solved in sorted(grouped.items())}


def _by_task(results: Iterable[Result]) -> Mapping[str, float]:
    grouped: dict[str, list[float]] = defaultdict(list)
    for result in results:
        if result.outcome is not Outcome.ERROR:
            grouped[result.task_id].append(result.success)
    return {task: fmean(solved) for task, solved in grouped.items()}


def _rewards(judged: Iterable[Result]) -> dict[str, list[float]]:
    grouped: dict[str, list[float]] = defaultdict(list)
    for result in judged:
        grouped[result.task_id].append(result.reward or 0.0)
    return grouped


def _passes(judged: Iterable[Result]) -> dict[int, float]:
    tasks = list(_rewards(judged).values())
    most = max(map(len, tasks), default=0)
    sizes = {*takewhile(lambda k: k < most, (2**n for n in count())), *([most] if most else [])}
    return {k: _mean(_pass(k, task) for task in tasks if len(task) >= k) for k in sorted(sizes)}


def _pass(k: int, rewards: Sequence[float]) -> float:
    return pass_at(k, len(rewards), sum(reward >= 1 for reward in rewards))


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return fmean(every) if every else 0.0
