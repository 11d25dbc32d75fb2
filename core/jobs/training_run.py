"""A training run for readers other than the trainer: its curve, what was left out, some rows.

    DATA_DIR/runs/MODEL/metrics.jsonl   a line per optimizer step
                        selection.json  rows seen and left out, with reasons
                        report.json     counts and totals, rewritten during the run
                        samples.json    some rows, cut where training begins and ends
                        recipe.json     everything that determines the weights

Missing files read as empty, since a run can be looked at from its first second.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentlm.messages import Frozen

MOST_POINTS = 1000
"""Most points of a curve: more than a screen shows, however long the run is."""


class Curve(Frozen):
    """Values by step. Every list is as long as `step`; None where nothing was measured."""

    step: tuple[int, ...] = ()
    """The first step is 1."""
    loss: tuple[float | None, ...] = ()
    held_out_loss: tuple[float | None, ...] = ()
    learning_rate: tuple[float | None, ...] = ()
    gradient_norm: tuple[float | None, ...] = ()
    tokens_per_second: tuple[float | None, ...] = ()


class TrainingRun(Frozen):
    """One run, finished or not."""

    name: str
    """The name of the new model."""
    steps: int | None
    """Planned steps; None: not known yet."""
    steps_done: int
    trained_tokens: int
    """Answer tokens so far; rows that are drawn again count again."""
    tokens_per_second: float | None
    """Over the last steps."""
    seconds_left: float | None
    best_step: int | None
    """The step with the lowest held-out loss."""
    curve: Curve
    selection: dict[str, Any]
    """Source → rows, kept, dropped by filter, examples with reasons."""
    sources: dict[str, Any]
    """Source → rows, tokens, trained tokens, weight."""
    samples: dict[str, list[list[tuple[str, bool]]]]
    """Source → rows. A row is a list of texts, each with whether it is trained on."""
    recipe: dict[str, Any]


def read_training_run(directory: Path) -> TrainingRun:
    """The run in this directory, or an empty one if it has not begun."""
    lines = list(_lines(directory / "metrics.jsonl"))
    report = _object(directory / "report.json")
    steps = report.get("steps")
    measured = [(one["held_out_loss"], one["step"]) for one in lines if "held_out_loss" in one]
    late = lines[-10:]
    seconds, tokens = (sum(one.get(name, 0.0) for one in late) for name in ("seconds", "tokens"))
    left = None if not (steps and late) else (steps - len(lines)) * seconds / len(late)
    return TrainingRun(
        name=directory.name,
        steps=steps,
        steps_done=len(lines),
        trained_tokens=int(sum(one.get("trained_tokens", 0) for one in lines)),
        tokens_per_second=tokens / seconds if seconds else None,
        seconds_left=left,
        best_step=int(min(measured)[1]) + 1 if measured else None,
        curve=_curve(_thinned(lines)),
        selection=_object(directory / "selection.json"),
        sources=report.get("sources", {}),
        samples=_object(directory / "samples.json"),
        recipe=_object(directory / "recipe.json"),
    )


def _curve(lines: list[dict[str, float]]) -> Curve:
    def column(name: str) -> tuple[float | None, ...]:
        return tuple(_finite(line.get(name)) for line in lines)

    return Curve(
        step=tuple(int(line["step"]) + 1 for line in lines),
        loss=column("loss"),
        held_out_loss=column("held_out_loss"),
        learning_rate=column("lr"),
        gradient_norm=column("grad_norm"),
        tokens_per_second=tuple(
            line["tokens"] / line["seconds"] if line.get("seconds") else None for line in lines
        ),
    )


def _thinned(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    """Few enough points to draw: every n-th, the last, and those with a held-out loss."""
    every = -(-len(lines) // MOST_POINTS)
    return [
        line
        for number, line in enumerate(lines, 1)
        if number % every == 0 or number == len(lines) or "held_out_loss" in line
    ]


def _lines(path: Path) -> Iterator[dict[str, float]]:
    """Complete lines only: the last one may be half written, or cut off by a crash."""
    with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.endswith("\n"):
                with suppress(ValueError):
                    read = json.loads(line)
                    if isinstance(read, dict) and "step" in read:
                        yield read


def _finite(value: float | None) -> float | None:
    """None for a norm that is not finite: JSON can't express it."""
    return value if value is not None and math.isfinite(value) else None


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if the file is missing or unreadable."""
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}
