"""The picture of a report: success by set, and by kind of problem within each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentlm.environments.evaluation.report import Report, Row
from agentlm.environments.evaluation.statistics import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(report: Report, path: Path) -> None:
    """Write the picture, a PNG."""
    from matplotlib.figure import Figure  # slow to import, and only needed at the end

    sets = list(dict.fromkeys(row.environment for row in report.rows))
    widest = max(len(_places(report, name)) for name in sets)
    size = (max(7.0, 2.0 + 0.35 * widest * len(report.models)), 0.6 + 3.2 * len(sets))
    figure = Figure(figsize=(min(size[0], 60), size[1]), layout="constrained")
    for name, axes in zip(sets, figure.subplots(len(sets), squeeze=False)[:, 0], strict=True):
        _draw_set(axes, [row for row in report.rows if row.environment == name], report.models)
    figure.suptitle(f"Success on {report.title}")
    figure.savefig(path, dpi=110)


def _places(report: Report, name: str) -> list[str]:
    rows = [row for row in report.rows if row.environment == name]
    return [place for row in rows for place in _bars(row)]


def _bars(row: Row) -> dict[str, tuple[int, int]]:
    """Label → (solved, judged): the whole set, then the kinds of problem in it."""
    whole = (round(row.success * row.judged), row.judged)
    return {"all": whole, **row.families}


def _draw_set(axes: Axes, rows: Sequence[Row], models: Sequence[str]) -> None:
    headline = [row for row in rows if row.decoding == rows[0].decoding]
    labels = list(dict.fromkeys(label for row in headline for label in _bars(row)))
    width = 0.8 / len(models)
    for row in headline:
        shift = (models.index(row.model) - (len(models) - 1) / 2) * width
        bars = [(labels.index(label) + shift, *counts) for label, counts in _bars(row).items()]
        _draw_bars(axes, bars, width, row)
    floor = headline[0].floors.all
    axes.axhline(floor.constant, color="grey", linestyle=":", label="best constant answer")
    axes.axhline(floor.random, color="grey", linestyle="--", label="chance")
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axes.set_ylim(0, 1.12)
    axes.set_ylabel("success, 95%")
    axes.set_title(f"{rows[0].environment}, {rows[0].decoding}: {headline[0].asked} tries")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))


def _draw_bars(axes: Axes, bars: Sequence[tuple[float, int, int]], width: float, row: Row) -> None:
    at = [place for place, _, _ in bars]
    rates = [solved / judged if judged else 0.0 for _, solved, judged in bars]
    intervals = [wilson(rate, judged) for rate, (_, _, judged) in zip(rates, bars, strict=True)]
    # A rate of 0 or 1 can lie beside its own interval by the last bit.
    below = [max(0.0, rate - low) for rate, (low, _) in zip(rates, intervals, strict=True)]
    above = [max(0.0, high - rate) for rate, (_, high) in zip(rates, intervals, strict=True)]
    drawn = axes.bar(at, rates, width, yerr=[below, above], capsize=2, label=row.model)
    values = [f"{solved}/{judged}" for _, solved, judged in bars]
    axes.bar_label(drawn, values, padding=2, fontsize=7)
