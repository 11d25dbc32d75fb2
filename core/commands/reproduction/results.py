"""An experiment's measurements so far, read from what its commands wrote.

Only finished steps are read: a number comes from the plan's own run, or is absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentlm.commands.reproduction.experiment import Beginning, Experiment, Mark, read_beginning
from agentlm.commands.reproduction.plan import Comparison, Plan, PlanStep
from agentlm.environments.evaluation.beside import differences, read_report
from agentlm.environments.evaluation.report import (
    AbilityDifference,
    Difference,
    Report,
    ability_difference,
)
from agentlm.errors import OperatorError
from agentlm.messages import Frozen
from agentlm.models.registry import Registry


class Training(Frozen):
    name: str
    base: str
    rows: dict[str, int]
    """Rows drawn from each source of the mixture; a row that came twice counts twice."""
    computed_tokens: int
    trained_tokens: int
    steps: int
    first_loss: float
    last_loss: float
    """`first_loss` and `last_loss` are means over the first and the last tenth of the steps."""
    losses: tuple[float, ...]
    held_out: tuple[tuple[int, float], ...]
    """Step and loss per token, on rows that were not trained on."""
    seconds: float


class Evaluation(Frozen):
    name: str
    report: Report


class Compared(Frozen):
    """Two evaluations of the plan, compared."""

    question: Comparison
    tasks: tuple[Difference, ...]
    abilities: tuple[AbilityDifference, ...]


class Done(Frozen):
    """A finished step."""

    step: PlanStep
    seconds: float


class Results(Frozen):
    """Everything measured in one experiment."""

    origin: Beginning
    done: tuple[Done, ...]
    undone: tuple[PlanStep, ...]
    trainings: tuple[Training, ...]
    evaluations: tuple[Evaluation, ...]
    compared: tuple[Compared, ...]

    @property
    def seconds(self) -> float:
        """Time that all steps took together."""
        return sum(it.seconds for it in self.done)


def read_results(plan: Plan, experiment: Experiment) -> Results:
    """Results of the finished steps. Raises OperatorError if one of them measured another model."""
    done = read_done(plan, experiment)
    steps = [it.step for it in done]
    origin = read_beginning(experiment.directory)
    evaluations = tuple(_evaluations(experiment.data_dir, steps, origin))
    return Results(
        origin=origin,
        done=done,
        undone=tuple(step for step in plan.steps if step not in steps),
        trainings=tuple(_trainings(experiment.data_dir, steps)),
        evaluations=evaluations,
        compared=tuple(_compared(plan, experiment.data_dir, evaluations)),
    )


def read_compared(plan: Plan, experiment: Experiment) -> tuple[Compared, ...]:
    """Of the steps that are done, the evaluations beside each other alone."""
    steps = [it.step for it in read_done(plan, experiment)]
    origin = read_beginning(experiment.directory)
    evaluations = tuple(_evaluations(experiment.data_dir, steps, origin))
    return tuple(_compared(plan, experiment.data_dir, evaluations))


def read_done(plan: Plan, experiment: Experiment) -> tuple[Done, ...]:
    marks = experiment.marks()
    return tuple(
        Done(step=step, seconds=marks[step.name].seconds)
        for step in plan.steps
        if _ended(marks, step)
    )


def _ended(marks: dict[str, Mark], step: PlanStep) -> bool:
    mark = marks.get(step.name)
    return mark is not None and mark.ended is not None and mark.digest == step.digest


def _trainings(directory: Path, done: list[PlanStep]) -> Iterator[Training]:
    for step in done:
        if step.command == "finetune":
            yield _training(directory / "runs" / (step.flag("--name") or ""))


def _training(run: Path) -> Training:
    report: dict[str, Any] = _json(run / "report.json")
    losses = tuple(report["loss"])
    tenth = max(1, len(losses) // 10)
    return Training(
        name=report["name"],
        base=str(report["recipe"]["base"]),
        rows={name: source["rows"] for name, source in report["sources"].items()},
        computed_tokens=round(report["drawn"]["computed_tokens"]),
        trained_tokens=round(report["drawn"]["trained_tokens"]),
        steps=report["steps_done"],
        first_loss=sum(losses[:tenth]) / tenth,
        last_loss=sum(losses[-tenth:]) / tenth,
        losses=losses,
        held_out=tuple(map(tuple, report["held_out_loss"])),
        seconds=report["drawn"]["seconds"],
    )


def _evaluations(directory: Path, done: list[PlanStep], origin: Beginning) -> Iterator[Evaluation]:
    weights = {card.name: card.weights_version for card in Registry(directory).list()}
    weights |= {origin.base: origin.weights} if origin.base else {}
    for step in done:
        if step.command != "eval":
            continue
        name = step.flag("--name") or ""
        report = read_report(directory / "evaluations" / name)
        for row in report.rows:
            known, played = weights.get(row.played.name), row.played.weights_version
            if None not in (known, played) and known != played:
                raise OperatorError(
                    f"the evaluation {name} is of {row.played.name} with the weights {played}, and "
                    f"that model has {known} here: it is not this experiment's"
                )
        yield Evaluation(name=name, report=report)


def _compared(
    plan: Plan, directory: Path, evaluations: tuple[Evaluation, ...]
) -> Iterator[Compared]:
    reports = {it.name: it.report for it in evaluations}
    for question in plan.comparisons:
        if question.candidate in reports and question.base in reports:
            kept = directory / "evaluations"
            per_task = differences(kept / question.candidate, kept / question.base)
            yield Compared(
                question=question,
                tasks=tuple(per_task),
                abilities=tuple(_abilities(reports[question.base], reports[question.candidate])),
            )


def _abilities(base: Report, candidate: Report) -> Iterator[AbilityDifference]:
    before = {it.measure: it for it in base.abilities}
    for after in candidate.abilities:
        if after.measure in before:
            difference = ability_difference(before[after.measure], after, seed=0)
            if difference is not None:
                yield difference


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OperatorError(f"{file} can't be read: {error}") from error
