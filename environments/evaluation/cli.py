"""`agentlm eval`: success on tasks that were never trained on, base beside candidate."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from rich.console import Console

from agentlm.environments.catalogue import EnvironmentName, opened, tasks_of, text_grammar
from agentlm.environments.evaluation.general import Ability, Probe, check_measures
from agentlm.environments.evaluation.report import Difference, Report, difference_of, row_of
from agentlm.environments.evaluation.settings import EvalSettings
from agentlm.environments.evaluation.show import save, tables
from agentlm.environments.playing.demonstration import demonstration
from agentlm.environments.playing.display import Display
from agentlm.environments.playing.model_player import Decoding, ModelPlayer, client_of, connected
from agentlm.environments.playing.players import Player
from agentlm.environments.playing.progress import Progress, Result
from agentlm.environments.playing.recording import OutcomeRecorder
from agentlm.environments.playing.rollout import Rollout
from agentlm.environments.playing.text_player import TextPlayer
from agentlm.environments.task import Environment, Task
from agentlm.errors import OperatorError
from agentlm.settings import parse

_CONSTRAINED: dict[str, bool | None] = {
    "unconstrained": False,
    "constrained": True,
    "default": None,
}


@dataclass(frozen=True)
class _Cell:
    """What one row of the report is made of."""

    environment: EnvironmentName
    decoding: str
    model: str


@dataclass(frozen=True)
class _Measured:
    results: list[Result]
    asked: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    settings = parse(EvalSettings, argv or [], "agentlm eval")
    if settings.one_shot and settings.grammar == "agentinstruct":
        raise OperatorError("--one-shot is not offered with --grammar agentinstruct")
    check_measures(settings.general)
    settings.prepare_data_dir()
    try:
        return asyncio.run(_run(settings))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise


async def _run(settings: EvalSettings) -> int:
    console = Console()
    measured: dict[_Cell, _Measured] = {}
    for name in settings.env:
        async with opened(
            name, concurrency=settings.concurrency, data_dir=settings.data_dir
        ) as environment:
            tasks = list(
                tasks_of(environment, settings.split, settings.seed, settings.limit, settings.tasks)
            )
            for decoding, model in product(_decodings(settings), _models(settings)):
                cell = _Cell(name, decoding, model)
                results = await _measure(settings, environment, tasks, cell)
                measured[cell] = _Measured(results, asked=len(tasks) * settings.tries)
    report = _report(settings, measured, await _abilities(settings))
    for table in tables(report):
        console.print(table)
    data, picture = save(report, _directory(settings))
    console.print(f"{data}\n{picture}", soft_wrap=True)
    if not report.complete:
        console.print("incomplete: some tries failed; run the same command again to repeat them")
    return 0 if report.complete else 1


async def _measure(
    settings: EvalSettings, environment: Environment, tasks: list[Task], cell: _Cell
) -> list[Result]:
    decoding = Decoding(
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        constrained=_CONSTRAINED[cell.decoding],
        seed=settings.seed,
    )
    shown = await demonstration(environment, settings.seed) if settings.one_shot else ()
    metadata = {"player": "model", "evaluation": _name(settings)}
    display = Display(Console(stderr=True), len(tasks) * settings.tries)
    path = (
        _directory(settings) / f"{_safe(f'{cell.environment}-{cell.decoding}-{cell.model}')}.jsonl"
    )
    async with connected(
        _url(settings, cell.model),
        cell.model,
        decoding,
        api_key=settings.api_key,
        metadata=metadata,
    ) as player:
        with Progress(path, _plan(settings, cell)) as progress, display:
            display.count(progress.results.values())
            rollout = Rollout(
                environment,
                _seated(settings, environment, player),
                OutcomeRecorder(player),
                progress,
                concurrency=settings.concurrency,
                retries=settings.retries,
                shown=shown,
                on_result=display.add,
            )
            await rollout.run(tasks, settings.tries)
            if display.errors:
                print(f"the last failure: {display.last_error}", file=sys.stderr)
            wanted = {task.id for task in tasks}
            return [
                result
                for (task_id, attempt), result in sorted(progress.results.items())
                if task_id in wanted and attempt < settings.tries
            ]


def _seated(settings: EvalSettings, environment: Environment, player: ModelPlayer) -> Player:
    if settings.grammar == "canonical":
        return player
    return TextPlayer(player, text_grammar(environment))


async def _abilities(settings: EvalSettings) -> list[Ability]:
    found: list[Ability] = []
    for model in _models(settings) if settings.general else ():
        async with client_of(_url(settings, model), settings.api_key) as client:
            probe = Probe(
                client,
                model,
                limit=settings.cases or settings.limit,
                seed=settings.seed,
                concurrency=settings.concurrency,
            )
            found += [await probe.measure(name) for name in settings.general]
    return sorted(found, key=lambda ability: settings.general.index(ability.measure))


def _report(
    settings: EvalSettings, measured: dict[_Cell, _Measured], abilities: Sequence[Ability]
) -> Report:
    return Report(
        settings=settings.model_dump(mode="json", exclude={"api_key", "data_dir", "store_url"}),
        rows=tuple(
            row_of(
                found.results,
                environment=cell.environment,
                model=cell.model,
                decoding=cell.decoding,
                asked=found.asked,
            )
            for cell, found in measured.items()
        ),
        differences=tuple(_differences(settings, measured)),
        abilities=tuple(abilities),
    )


def _differences(settings: EvalSettings, measured: dict[_Cell, _Measured]) -> Iterator[Difference]:
    base = settings.base
    if base is None:
        return
    for name, decoding in product(settings.env, _decodings(settings)):
        yield difference_of(
            measured[_Cell(name, decoding, base)].results,
            measured[_Cell(name, decoding, settings.model)].results,
            names=(base, settings.model),
            environment=name,
            decoding=decoding,
            seed=settings.seed,
        )


def _decodings(settings: EvalSettings) -> list[str]:
    """The headline comes first: unconstrained."""
    if settings.decoding == "both":
        return ["unconstrained", "constrained"]
    return [settings.decoding]


def _models(settings: EvalSettings) -> list[str]:
    return [*([settings.base] if settings.base else []), settings.model]


def _url(settings: EvalSettings, model: str) -> str:
    return settings.base_url if settings.base_url and model == settings.base else settings.url


def _plan(settings: EvalSettings, cell: _Cell) -> dict[str, object]:
    """What a continued evaluation must agree on; its size may change."""
    return {
        "evaluation": cell.environment,
        "model": cell.model,
        "decoding": cell.decoding,
        "split": settings.split,
        "tasks": str(settings.tasks) if settings.tasks else None,
        "seed": settings.seed,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "one_shot": settings.one_shot,
        "grammar": settings.grammar,
    }


def _name(settings: EvalSettings) -> str:
    return settings.name or _safe(f"{settings.model}-{settings.split}-{settings.seed}")


def _safe(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)


def _directory(settings: EvalSettings) -> Path:
    return settings.data_dir / "evaluations" / _name(settings)
