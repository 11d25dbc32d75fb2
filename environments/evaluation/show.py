"""A report as a table for the terminal, as JSON and as a picture."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from agentlm.environments.evaluation.general import Ability
from agentlm.environments.evaluation.report import Difference, Report, Row
from agentlm.environments.evaluation.statistics import Interval


def tables(report: Report) -> list[Table]:
    """Success, how tries went, base beside candidate, general ability: what there is of them."""
    success = Table("set", "model", "decoding", "success", "95%", "reward", "tries")
    conduct = _narrow("set", "model", "decoding", *_CLASSES, *_COSTS)
    for row in report.rows:
        success.add_row(*_succeeded(row))
        conduct.add_row(*_went(row))
    differences = Table("set", "decoding", "candidate − base", "95%", "tasks")
    for difference in report.differences:
        differences.add_row(*_compared(difference))
    abilities = Table("general ability", "model", "value", "95%", "cases")
    for ability in report.abilities:
        abilities.add_row(*_measured(ability))
    return [table for table in (success, conduct, differences, abilities) if table.row_count]


def save(report: Report, directory: Path) -> tuple[Path, Path]:
    """Write report.json and report.png."""
    data, picture = directory / "report.json", directory / "report.png"
    directory.mkdir(parents=True, exist_ok=True)
    data.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    _draw(report, picture)
    return data, picture


_CLASSES = ("refusal", "invalid", "repeat", "call err", "invented")
_COSTS = ("turns", "tokens", "s")


def _narrow(*columns: str) -> Table:
    """For many columns. Names fold and are not cut: models' often begin alike."""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _succeeded(row: Row) -> list[str]:
    tried = f"{row.judged}" if row.complete else f"{row.judged} of {row.asked}: incomplete"
    return [
        row.environment,
        row.model,
        row.decoding,
        f"{row.success:.1%}",
        _spelled(row.interval),
        f"{row.reward:.3f}",
        tried,
    ]


def _went(row: Row) -> list[str]:
    """Shares of tries with each error class, and means per try."""
    return [
        row.environment,
        row.model,
        row.decoding,
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
    ]


def _measured(ability: Ability) -> list[str]:
    if ability.value is None:
        return [ability.measure, ability.model, f"not measured: {ability.skipped}", "", ""]
    shown = f"{ability.value:.1%}" if ability.interval else f"{ability.value:.2f}"
    interval = _spelled(ability.interval) if ability.interval else ""
    return [ability.measure, ability.model, shown, interval, str(ability.cases)]


def _spelled(interval: Interval) -> str:
    return f"{100 * interval[0]:.1f} … {100 * interval[1]:.1f}"


def _draw(report: Report, path: Path) -> None:
    from matplotlib.figure import Figure  # slow to import, and only needed at the end

    labels = [f"{row.environment}\n{row.decoding}" for row in report.rows]
    places = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    models = list(dict.fromkeys(row.model for row in report.rows))
    figure = Figure(figsize=(2.5 + 1.6 * len(places), 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(models))
    for number, model in enumerate(models):
        rows = [row for row in report.rows if row.model == model]
        at = [
            places[f"{row.environment}\n{row.decoding}"] + (number - (len(models) - 1) / 2) * width
            for row in rows
        ]
        success = [row.success for row in rows]
        # A rate of 0 or 1 can lie beside its own interval by the last bit.
        below = [max(0.0, row.success - row.interval[0]) for row in rows]
        above = [max(0.0, row.interval[1] - row.success) for row in rows]
        axes.bar(at, success, width, yerr=[below, above], capsize=3, label=model)
    axes.set_xticks(range(len(places)), list(places))
    axes.set_ylim(0, 1)
    axes.set_ylabel("success, with 95% interval")
    axes.legend()
    figure.savefig(path, dpi=120)
