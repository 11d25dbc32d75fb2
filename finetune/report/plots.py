"""The plots of a run, as PNG files beside its numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentlm.finetune.data.mixture import Plan, Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Metrics = Sequence[dict[str, float]]
FEW_POINTS = 12


def draw_plots(
    directory: Path, metrics: Metrics, sources: Sequence[Source], plan: Plan, drops: dict[str, Any]
) -> list[Path]:
    """Draw all plots. Returns the files in reading order."""
    plots: dict[str, Callable[[Axes], None]] = {
        "loss": lambda axes: _loss(axes, metrics),
        "learning_rate": lambda axes: _learning_rate(axes, metrics),
        "gradient_norm": lambda axes: _gradient_norm(axes, metrics),
        "lengths": lambda axes: _lengths(axes, sources),
        "trained_share": lambda axes: _trained_share(axes, sources),
        "mixture": lambda axes: _mixture(axes, sources, plan),
        "drops": lambda axes: _drops(axes, drops),
    }
    if len(sources) == 1:
        del plots["mixture"]  # it would be a single bar
    return [_draw(directory / f"{name}.png", plot) for name, plot in plots.items()]


def _draw(path: Path, plot: Callable[[Axes], None]) -> Path:
    # The object interface needs no display and shares no state with other users of matplotlib.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    plot(axes)
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, dpi=120, format="png")
    return partial.replace(path)


def _loss(axes: Axes, metrics: Metrics) -> None:
    _curve(axes, metrics, "loss", label="trained on")
    if any("held_out_loss" in line for line in metrics):
        _curve(axes, metrics, "held_out_loss", label="held out")
        axes.legend()
    axes.set(title="Loss of a token", xlabel="step", ylabel="nats", ylim=(0, None))


def _learning_rate(axes: Axes, metrics: Metrics) -> None:
    _curve(axes, metrics, "lr")
    axes.set(title="Learning rate", xlabel="step", ylim=(0, None))


def _gradient_norm(axes: Axes, metrics: Metrics) -> None:
    _curve(axes, metrics, "grad_norm")
    axes.set(title="Norm of the gradient, before it is clipped", xlabel="step", ylim=(0, None))


def _curve(axes: Axes, metrics: Metrics, name: str, label: str | None = None) -> None:
    """A value by step, where it was measured. Few points get markers, since a line needs two."""
    points = [(line["step"] + 1, line[name]) for line in metrics if name in line]
    marker = "o" if len(points) <= FEW_POINTS else None
    axes.plot(
        [step for step, _ in points], [value for _, value in points], label=label, marker=marker
    )
    _whole_numbers(axes)


def _lengths(axes: Axes, sources: Sequence[Source]) -> None:
    axes.hist([source.rows.lengths for source in sources], bins=30, label=_names(sources))
    axes.set(title="Length of rows", xlabel="tokens", ylabel="rows")
    axes.legend()


def _trained_share(axes: Axes, sources: Sequence[Source]) -> None:
    shares = [source.rows.trained / source.rows.lengths for source in sources]
    axes.hist(shares, bins=20, range=(0, 1), label=_names(sources))
    axes.set(title="Part of a row that is trained on", xlabel="trained / all", ylabel="rows")
    axes.legend()


def _mixture(axes: Axes, sources: Sequence[Source], plan: Plan) -> None:
    drawn = np.bincount(plan.draws[:, 0], minlength=len(sources))
    tokens = np.zeros(len(sources))
    for index, source in enumerate(sources):
        tokens[index] = source.rows.lengths[plan.draws[plan.draws[:, 0] == index, 1]].sum()
    places = np.arange(len(sources))
    axes.bar(places - 0.2, drawn / drawn.sum(), 0.4, label="rows")
    axes.bar(places + 0.2, tokens / tokens.sum(), 0.4, label="tokens")
    axes.set(title="Mixture, as drawn", ylim=(0, 1), ylabel="share")
    axes.set_xticks(places, _names(sources))
    axes.legend()


def _drops(axes: Axes, drops: dict[str, Any]) -> None:
    dropped = {
        (name if len(drops) == 1 else f"{source}: {name}"): count
        for source, by_filter in drops.items()
        for name, count in by_filter["dropped"].items()
    }
    axes.barh(list(dropped) or ["nothing"], list(dropped.values()) or [0], height=0.6)
    axes.set(title="Left out, by filter", xlabel="rows")
    axes.invert_yaxis()  # from top to bottom, in the order of the filters
    _whole_numbers(axes)


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _names(sources: Sequence[Source]) -> list[str]:
    return [source.name for source in sources]
