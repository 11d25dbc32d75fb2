"""`agentlm eval`, once its flags are read: success on tasks that were never trained on, for base
and candidate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from agentlm.console import Console
from agentlm.environments.adapters.loading import version_of
from agentlm.environments.catalogue import EnvironmentName
from agentlm.environments.evaluation.contenders import Contender, contenders
from agentlm.environments.evaluation.family import Family, family
from agentlm.environments.evaluation.floors import Floors, floors_of
from agentlm.environments.evaluation.general_ability.kept_abilities import abilities
from agentlm.environments.evaluation.general_ability.probe import Ability, check_measures
from agentlm.environments.evaluation.kept import directory_of, kept_file, name_of
from agentlm.environments.evaluation.page import Run
from agentlm.environments.evaluation.report import (
    AbilityDifference,
    Difference,
    Report,
    ability_difference,
    difference_of,
    row_of,
)
from agentlm.environments.evaluation.settings import EvalSettings
from agentlm.environments.evaluation.show import save, set_aside, tables
from agentlm.environments.evaluation.transcripts import TranscriptRecorder, transcripts
from agentlm.environments.playing.model_player import PlayedModel, connected
from agentlm.environments.playing.progress import Progress, Result, setting_plan
from agentlm.environments.playing.recording import ServerRecorder
from agentlm.environments.playing.rollout import tell_pending
from agentlm.environments.playing.session import Seat, decoding_of, play_tasks, run_session, seated
from agentlm.environments.task import Task

_CONSTRAINED: dict[str, bool | None] = {
    "unconstrained": False,
    "constrained": True,
    "default": None,
}


_PRIVATE = {"api_key", "url", "base_url", "data_dir", "store_url"}
"""Left out of reports. Each row has its server's URL, without a password."""


@dataclass(frozen=True)
class _Cell:
    """The conditions of one row of the report."""

    environment: EnvironmentName
    decoding: str
    model: Contender


@dataclass(frozen=True)
class _Measured:
    results: list[Result]
    asked: int
    model: PlayedModel
    file: Path
    transcripts: Path


def run(settings: EvalSettings) -> int:
    """Measure; returns the exit code. Raises OperatorError for what can't be measured."""
    check_measures(settings.general)
    contenders(settings)
    return run_session(settings, _run)


async def _run(settings: EvalSettings) -> int:
    console = Console()
    measured: dict[_Cell, _Measured] = {}
    floors: dict[str, Floors] = {}
    tasks: list[Task] = []
    for name in settings.env:
        async with family(name, settings) as played:
            for decoding, model in product(_decodings(settings), contenders(settings)):
                cell = _Cell(name, decoding, model)
                measured[cell] = await _measure(settings, played, cell)
            floors[name] = await floors_of(played)
            tasks += await played.tasks()
    report = _report(settings, measured, floors, await abilities(settings))
    for table in tables(report):
        console.print(table)
    for note in report.notes:
        console.print(note, soft_wrap=True)
    if (earlier := set_aside(report, directory_of(settings))) is not None:
        console.print(f"an earlier report, of something else, is now {earlier}", soft_wrap=True)
    files = save(report, directory_of(settings), _runs(measured), tasks)
    console.print("\n".join(map(str, files)), soft_wrap=True)
    if not report.complete:
        console.print("incomplete: some tries failed; run the same command again to repeat them")
    return 0 if report.complete else 1


async def _measure(settings: EvalSettings, played: Family, cell: _Cell) -> _Measured:
    tasks = await played.tasks()
    metadata = {"player": "model", "evaluation": name_of(settings)}
    decoding = decoding_of(settings, _CONSTRAINED[cell.decoding])
    async with connected(
        cell.model.url,
        cell.model.name,
        decoding,
        api_key=settings.api_key,
        metadata=metadata,
    ) as player:
        plan = _plan(settings, cell, player.model)
        path = kept_file(settings, f"{cell.environment}-{cell.decoding}-{cell.model.name}", plan)
        transcripts = path.with_suffix(".runs.jsonl")
        with closing(Progress(path, plan, fresh=settings.fresh)) as progress:
            if kept := progress.kept():
                print(f"{cell.environment}, {cell.decoding}, {cell.model.label}: {kept}")
            server = ServerRecorder(player, rewarded=False)
            await tell_pending(server, progress)
            known = progress.of(tasks, settings.tries)
            if len(known) < len(tasks) * settings.tries:
                environment = await played.environment()
                with TranscriptRecorder(transcripts, server) as log:
                    seat = Seat(environment, seated(settings, player, environment), log, progress)
                    await play_tasks(settings, seat, tasks, known, len(tasks))
            measured = progress.of(tasks, settings.tries)
    return _Measured(measured, len(tasks) * settings.tries, player.model, path, transcripts)


def _runs(measured: dict[_Cell, _Measured]) -> Iterator[Run]:
    """Every try, with its transcript."""
    for cell, measurement in measured.items():
        texts = transcripts(measurement.transcripts)
        for result in measurement.results:
            transcript = texts.get((result.task_id, result.attempt))
            yield Run(cell.model.label, cell.decoding, result, transcript)


def _report(
    settings: EvalSettings,
    measured: dict[_Cell, _Measured],
    floors: dict[str, Floors],
    measures: Sequence[Ability],
) -> Report:
    return Report(
        settings=settings.model_dump(mode="json", exclude=_PRIVATE),
        rows=tuple(
            row_of(
                measurement.results,
                environment=cell.environment,
                model=cell.model.label,
                decoding=cell.decoding,
                played=measurement.model,
                results_file=measurement.file.name,
                asked=measurement.asked,
                floors=floors[cell.environment],
            )
            for cell, measurement in measured.items()
        ),
        differences=tuple(_differences(settings, measured)),
        abilities=tuple(measures),
        ability_differences=tuple(_ability_differences(settings, measures)),
    )


def _differences(settings: EvalSettings, measured: dict[_Cell, _Measured]) -> Iterator[Difference]:
    if settings.base is None:
        return
    base, candidate = contenders(settings)
    for name, decoding in product(settings.env, _decodings(settings)):
        yield difference_of(
            measured[_Cell(name, decoding, base)].results,
            measured[_Cell(name, decoding, candidate)].results,
            names=(base.label, candidate.label),
            environment=name,
            decoding=decoding,
            seed=settings.seed,
        )


def _ability_differences(
    settings: EvalSettings, measures: Sequence[Ability]
) -> Iterator[AbilityDifference]:
    """For each measure, the base's value and the candidate's."""
    if settings.base is None:
        return
    for base, candidate in zip(measures[::2], measures[1::2], strict=True):
        difference = ability_difference(base, candidate, settings.seed)
        if difference is not None:
            yield difference


def _decodings(settings: EvalSettings) -> list[str]:
    """Unconstrained decoding, the headline, comes first."""
    if settings.decoding == "both":
        return ["unconstrained", "constrained"]
    return [settings.decoding]


def _plan(settings: EvalSettings, cell: _Cell, model: PlayedModel) -> dict[str, object]:
    """What has to stay the same when an evaluation is continued; its size may change."""
    others = ("url", "base", "base_url", "general", "cases", "answers")
    return {
        **setting_plan(settings, without=others),
        "env": cell.environment,
        "world": version_of(cell.environment),
        "decoding": cell.decoding,
        "model": model.model_dump(),
    }
