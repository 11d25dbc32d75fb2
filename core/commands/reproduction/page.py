"""The page of an experiment: tables and plots of its own measurements only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined, Template

from agentlm.commands.reproduction.costs import in_words
from agentlm.commands.reproduction.machine import typed
from agentlm.commands.reproduction.plan import Plan
from agentlm.commands.reproduction.results import Results
from agentlm.environments.evaluation.report import AbilityDifference
from agentlm.files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes


PAPER = {
    "Llama-2-7B-chat": {"db": 0.3, "os": 8.3, "kg": 0.0},
    "AgentLM-7B": {"db": 30.6, "os": 17.4, "kg": 18.1},
    "AgentLM-70B": {"db": 37.7, "os": 21.5, "kg": 47.0},
    "GPT-4": {"db": 33.7, "os": 36.8, "kg": 52.1},
}
"""AgentTuning (arXiv 2310.12823), table 4, in percent: success, of kg F1; AgentBench's tests."""


def write_page(plan: Plan, profile: str, results: Results, page: Path) -> list[Path]:
    """Write the page, and its plots beside it. Returns the files."""
    pictures: dict[str, tuple[bool, Callable[[Axes], None]]] = {
        "success": (bool(results.evaluations), lambda axes: _success(axes, results)),
        "loss": (bool(results.trainings), lambda axes: _losses(axes, results)),
    }
    page.parent.mkdir(parents=True, exist_ok=True)
    drawn = {
        name: _draw(page.with_name(f"{page.stem}-{name}.png"), plot)
        for name, (wanted, plot) in pictures.items()
        if wanted
    }
    names = {name: path.name for name, path in drawn.items()}
    template = template_of(
        "agentlm.commands.reproduction",
        "page.md.jinja",
        interval=lambda interval: f"{100 * interval[0]:.1f} … {100 * interval[1]:.1f}",
        thousands=lambda count: f"{count:,.0f}",
        kept=_kept,
    )
    text = template.render(plan=plan, profile=profile, results=results, pictures=names, paper=PAPER)
    write_text(page, text)
    return [page, *drawn.values()]


def template_of(package: str, name: str, **filters: Callable[..., str]) -> Template:
    """A page's template, with the filters of all pages of experiments and some of its own."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {
        "percent": lambda rate: f"{100 * rate:.1f}%",
        "signed": lambda rate: f"{100 * rate:+.1f}",
        "time": in_words,
        "command": lambda step: typed(step.words),
        **filters,
    }
    return environment.from_string(files(package).joinpath(name).read_text(encoding="utf-8"))


def _kept(difference: AbilityDifference) -> str:
    low, high = difference.interval
    if difference.measure == "perplexity":
        return f"× {difference.value:.3f} ({low:.3f} … {high:.3f})"
    return f"{100 * difference.value:+.1f} ({100 * low:.1f} … {100 * high:.1f})"


def _draw(path: Path, plot: Callable[[Axes], None]) -> Path:
    from matplotlib.figure import Figure  # slow to import, and needed only at the end

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    plot(axes)
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, dpi=110, format="png")
    return partial.replace(path)


def _success(axes: Axes, results: Results) -> None:
    """A bar for each headline row, decoded without constraint."""
    bars = [
        (f"{evaluation.name}\n{row.environment}", row.success, row.interval)
        for evaluation in results.evaluations
        for row in evaluation.report.rows
        if row.decoding == evaluation.report.rows[0].decoding
    ]
    rates = [rate for _, rate, _ in bars]
    # By rounding, a rate of 0 or 1 can lie outside its own interval.
    below = [max(0.0, rate - low) for _, rate, (low, _) in bars]
    above = [max(0.0, high - rate) for _, rate, (_, high) in bars]
    axes.bar(range(len(bars)), rates, yerr=[below, above], capsize=2)
    axes.set_xticks(range(len(bars)), [label for label, _, _ in bars], rotation=60, ha="right")
    axes.tick_params(axis="x", labelsize=7)
    axes.set(ylim=(0, 1), ylabel="tasks solved, 95%")


def _losses(axes: Axes, results: Results) -> None:
    """Plot the held-out loss if it was measured, else the loss of the rows trained on, which tells
    less."""
    for training in results.trainings:
        points: Sequence[tuple[int, float]] = training.held_out or [*enumerate(training.losses, 1)]
        kind = "held out" if training.held_out else "trained on"
        axes.plot(*zip(*points, strict=True), label=f"{training.name}, {kind}", marker=".")
    axes.set(xlabel="step", ylabel="loss of a token, nats", ylim=(0, None))
    axes.legend(fontsize="small")
