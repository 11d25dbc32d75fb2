"""A training run as others than the trainer read it: its curve, what was left out, some rows.

    DATA_DIR/runs/MODEL/metrics.jsonl   a line per optimizer step
                        selection.json  rows seen and left out, with reasons
                        report.json     counts and totals, rewritten as it goes on
                        samples.json    some rows, cut where training begins and ends
                        recipe.json     what decides the weights

What is not there yet reads as empty: a run is looked at from its first second.
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
"""Of a curve: more than a screen has, however long the run."""


class Curve(Frozen):
    """Values by step, each list as long as `step`; None where nothing was measured."""

    step: tuple[int, ...] = ()
    """From 1."""
    loss: tuple[float | None, ...] = ()
    held_out_loss: tuple[float | None, ...] = ()
    learning_rate: tuple[float | None, ...] = ()
    gradient_norm: tuple[float | None, ...] = ()
    tokens_per_second: tuple[float | None, ...] = ()


class TrainingRun(Frozen):
    """One run, however far it has come."""

    name: str
    """The new model's."""
    steps: int | None
    """Planned ones; None: not known yet."""
    steps_done: int
    trained_tokens: int
    """Tokens of answers so far, rows drawn again counted again."""
    tokens_per_second: float | None
    """Of the last steps."""
    seconds_left: float | None
    best_step: int | None
    """The step with the least held-out loss."""
    curve: Curve
    selection: dict[str, Any]
    """Source → rows, kept, dropped by filter, examples with reasons."""
    sources: dict[str, Any]
    """Source → rows, tokens, trained tokens, weight."""
    samples: dict[str, list[list[tuple[str, bool]]]]
    """Source → rows; a row is texts, each with whether it is trained on."""
    recipe: dict[str, Any]


def read_training_run(directory: Path) -> TrainingRun:
    """The run of this directory, or one that has not begun."""
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
    """Few enough to draw: each so many-th, the last, and those where the held-out loss stands."""
    every = -(-len(lines) // MOST_POINTS)
    return [
        line
        for number, line in enumerate(lines, 1)
        if number % every == 0 or number == len(lines) or "held_out_loss" in line
    ]


def _lines(path: Path) -> Iterator[dict[str, float]]:
    """Whole lines only: the last may be just being written, or cut off by a crash."""
    with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.endswith("\n"):
                with suppress(ValueError):
                    read = json.loads(line)
                    if isinstance(read, dict) and "step" in read:
                        yield read


def _finite(value: float | None) -> float | None:
    """JSON has no word for a norm that is not a number."""
    return value if value is not None and math.isfinite(value) else None


def _object(path: Path) -> dict[str, Any]:
    """A JSON file's object; empty if it is not there or not readable."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
