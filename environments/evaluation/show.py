"""A report as tables for the terminal, and as files: JSON, a picture, a page."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from pydantic import ValidationError
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from agentlm.environments.evaluation.general_ability.probe import Ability
from agentlm.environments.evaluation.page import Run, render_page
from agentlm.environments.evaluation.plot import draw
from agentlm.environments.evaluation.report import (
    AbilityDifference,
    Difference,
    Report,
    Row,
)
from agentlm.environments.evaluation.statistics import Interval
from agentlm.environments.task import Task
from agentlm.files import write_text
from agentlm.jobs.evaluations import RUNS


def tables(report: Report) -> list[Table]:
    """Success, how tries went, base beside candidate, general ability: what there is of them."""
    every = [
        _of_models(report.rows, _SUCCESS, _succeeded),
        _of_models(report.rows, ("one of k tries solves it", "best reward"), _passed),
        _of_models(report.rows, (*_CLASSES, *_COSTS), _went),
    ]
    differences = _narrow("set", "decoding", "candidate − base", "95%", "tasks", "clusters")
    for difference in report.differences:
        differences.add_row(*_compared(difference))
    abilities = _narrow("general ability", "model", "value", "95%", "cases")
    for ability in report.abilities:
        abilities.add_row(*_measured(ability))
    kept = _narrow("general ability", "candidate beside base", "95%", "cases")
    for lost in report.ability_differences:
        kept.add_row(*_kept(lost))
    return [table for table in (*every, differences, abilities, kept) if table.row_count]


def save(
    report: Report, directory: Path, runs: Iterable[Run], tasks: Iterable[Task]
) -> tuple[Path, Path, Path]:
    """Write report.json, what stands beside it, report.png and report.html."""
    data, kept, picture, page = (directory / f"report.{suffix}" for suffix in _SUFFIXES)
    known, tried = {task.id: task for task in tasks}, list(runs)
    lines = (run.kept(known[run.result.task_id]).model_dump_json() for run in tried)
    write_text(kept, "".join(f"{line}\n" for line in lines))
    write_text(data, report.model_dump_json(indent=1) + "\n")
    draw(report, picture)
    write_text(page, render_page(report, picture, tried, known))
    return data, picture, page


def set_aside(report: Report, directory: Path) -> Path | None:
    """Keep an earlier report that has a row which this one lacks; returns where it is now."""
    name = _earlier_name(report, directory / "report.json")
    if name is None:
        return None
    for suffix in reversed(_SUFFIXES):  # report.json last: if we are killed, all is still to do
        with suppress(FileNotFoundError):
            (directory / f"report.{suffix}").replace(directory / f"{name}.{suffix}")
    return directory / f"{name}.json"


def _earlier_name(report: Report, file: Path) -> str | None:
    """A name for the earlier report; None if nothing would be lost."""
    try:
        text = file.read_text(encoding="utf-8")
        earlier = Report.model_validate_json(text)
    except FileNotFoundError:
        return None
    except ValidationError:  # of another version of AgentLM
        return f"report-earlier-{_digest(text)}"
    if earlier.measured <= report.measured:
        return None
    sets = "-".join(dict.fromkeys(row.environment for row in earlier.rows))
    return f"report-{sets}-{_digest(str(sorted(earlier.measured)))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


_SUFFIXES = ("json", RUNS, "png", "html")
_SUCCESS = ("success", "95%", "constant", "chance", "reward", "tries")
_CLASSES = ("refusal", "invalid", "repeat", "call err", "invented")
_COSTS = ("turns", "tokens", "s")


def _of_models(
    rows: Iterable[Row], columns: Iterable[str], cells: Callable[[Row], list[str]]
) -> Table:
    """A line for each model under a line for each set and way of decoding, so that the columns of
    numbers fit in 80 characters."""
    table = _narrow("", *columns)
    for group_name, group in groupby(rows, lambda row: f"{row.environment}, {row.decoding}"):
        table.add_row(Text(group_name, style="bold"))
        for row in group:
            table.add_row(Text(f" {row.model}"), *cells(row))
    return table


def _narrow(*columns: str) -> Table:
    """For many columns. Names fold and are not cut: models' often begin alike."""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _succeeded(row: Row) -> list[str]:
    tried = f"{row.judged}" if row.complete else f"{row.judged} of {row.asked}: incomplete"
    return [
        f"{row.success:.1%}",
        _spelled(row.interval),
        f"{row.floors.all.constant:.1%}",
        f"{row.floors.all.random:.1%}",
        f"{row.reward:.3f}",
        tried,
    ]


def _passed(row: Row) -> list[str]:
    chances = ", ".join(f"pass@{k} {chance:.1%}" for k, chance in row.pass_at.items())
    best = f"{row.best:.3f} (of {max(row.pass_at)})" if row.pass_at else ""
    return [chances, best]


def _went(row: Row) -> list[str]:
    """Shares of tries with each error class, and means per try."""
    return [
        *(f"{share:.0%}" for share in row.error_classes.values()),
        f"{row.turns:.1f}",
        f"{row.completion_tokens:.0f}",
        f"{row.seconds:.1f}",
    ]


def _compared(difference: Difference) -> list[str]:
    return [
        difference.environment,
        difference.decoding,
        f"{difference.difference:+.1%}",
        _spelled(difference.interval),
        str(difference.tasks),
        str(difference.clusters),
    ]


def _measured(ability: Ability) -> list[str]:
    if ability.value is None:
        return [ability.measure, ability.model, f"not measured: {ability.skipped}", "", ""]
    value = f"{ability.value:.1%}" if ability.interval else f"{ability.value:.2f}"
    interval = _spelled(ability.interval) if ability.interval else ""
    return [ability.measure, ability.model, value, interval, str(ability.cases)]


def _kept(lost: AbilityDifference) -> list[str]:
    """The ratio of perplexities, or the difference of shares."""
    if lost.measure == "perplexity":
        low, high = lost.interval
        change, interval = f"× {lost.value:.3f}", f"{low:.3f} … {high:.3f}"
    else:
        change, interval = f"{lost.value:+.1%}", _spelled(lost.interval)
    return [lost.measure, change, interval, str(lost.cases)]


def _spelled(interval: Interval) -> str:
    return f"{100 * interval[0]:.1f} … {100 * interval[1]:.1f}"
