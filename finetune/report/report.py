"""The report of a run: every number in report.json, what to look at in report.html."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from agentlm.files import write_text
from agentlm.finetune.data.mixture import Plan, Source
from agentlm.finetune.report.html import render_html
from agentlm.finetune.report.plots import draw_plots
from agentlm.finetune.report.sample import spans
from agentlm.finetune.run import Run

SAMPLES = 8
"""Rows of each source in the report."""


def write_report(
    run: Run, sources: Sequence[Source], plan: Plan, decode: Callable[[Sequence[int]], str]
) -> dict[str, Any]:
    """Write report.json, and report.html with its plots, at any stage of a run."""
    metrics = run.metrics()
    held_out = [
        (int(line["step"]) + 1, line["held_out_loss"])
        for line in metrics
        if "held_out_loss" in line
    ]
    report = {
        "name": run.name,
        "recipe": run.read("recipe.json"),
        "selection": run.read("selection.json"),
        "sources": {source.name: _counts(source) for source in sources},
        "starts": run.starts(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": plan.steps,
        "steps_done": len(metrics),
        "drawn": _totals(metrics),
        "loss": [line["loss"] for line in metrics],
        "held_out_loss": held_out,
        "best_step": min(held_out, key=lambda measured: measured[::-1], default=(None,))[0],
    }
    run.write("report.json", report)
    plots = draw_plots(run.directory, metrics, sources, plan, report["selection"])
    samples = {
        source.name: [
            spans(source.rows.row(index), decode) for index in range(min(SAMPLES, len(source.rows)))
        ]
        for source in sources
    }
    run.write("samples.json", samples)
    write_text(run.directory / "report.html", render_html(report, plots, samples))
    return report


def _counts(source: Source) -> dict[str, float]:
    return {
        "rows": len(source.rows),
        "tokens": int(source.rows.lengths.sum()),
        "trained_tokens": int(source.rows.trained.sum()),
        "longest": int(source.rows.lengths.max()),
        "weight": source.weight,
    }


def _totals(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    names = ("rows", "tokens", "computed_tokens", "trained_tokens", "seconds")
    return {name: sum(line[name] for line in metrics) for name in names}
