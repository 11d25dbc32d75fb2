"""The report of a run: every number in one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentlm.finetune.mixture import Plan, Source
from agentlm.finetune.run import Run


def write_report(run: Run, sources: Sequence[Source], plan: Plan) -> dict[str, Any]:
    """Write report.json; returns what it says."""
    metrics = run.metrics()
    report = {
        "name": run.name,
        "recipe": run.read("recipe.json"),
        "selection": run.read("selection.json"),
        "sources": {source.name: _counts(source) for source in sources},
        "steps": plan.steps,
        "drawn": {
            "rows": sum(line["rows"] for line in metrics),
            "tokens": sum(line["tokens"] for line in metrics),
            "computed_tokens": sum(line["computed_tokens"] for line in metrics),
            "trained_tokens": sum(line["trained_tokens"] for line in metrics),
            "seconds": sum(line["seconds"] for line in metrics),
        },
        "loss": [line["loss"] for line in metrics],
    }
    run.write("report.json", report)
    return report


def _counts(source: Source) -> dict[str, float]:
    return {
        "rows": len(source.rows),
        "tokens": int(source.rows.lengths.sum()),
        "trained_tokens": int(source.rows.trained.sum()),
        "longest": int(source.rows.lengths.max()),
        "weight": source.weight,
    }
