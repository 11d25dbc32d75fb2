"""How long a plan takes, from the rates that it states and from how fast this machine has been.

The rates were measured on two cores without a GPU. Once a step of a command is done, later steps of
that command are expected to differ from the rates by the same factor.

"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from agentlm.commands.reproduction.experiment import Mark
from agentlm.commands.reproduction.plan import Plan, PlanStep

START = "start"
"""The unit that stands for one start of a server."""
_LEAST_S = 20.0
"""A step shorter than this tells nothing about the pace: most of it is its program's start."""


def expected_s(plan: Plan, step: PlanStep, *, starts: bool = False) -> float:
    """Seconds by the plan's rates. With `starts` a server has to start first."""
    work = sum(count * plan.rates[unit] for unit, count in step.units.items())
    return work + (plan.rates.get(START, 0.0) if starts else 0.0)


def plan_s(
    plan: Plan, steps: Iterable[PlanStep] | None = None, pace: Mapping[str, float] | None = None
) -> float:
    """Seconds of these steps, in this order; by default of all steps."""
    total, serving = 0.0, None
    for step in plan.steps if steps is None else steps:
        starts = step.served is not None and step.served != serving
        serving = step.served
        total += expected_s(plan, step, starts=starts) * (pace or {}).get(step.command, 1.0)
    return total


def paces(plan: Plan, marks: dict[str, Mark]) -> dict[str, float]:
    """For each command: its measured time divided by its expected time."""
    took: dict[str, float] = defaultdict(float)
    expected: dict[str, float] = defaultdict(float)
    for step in plan.steps:
        mark = marks.get(step.name)
        work = expected_s(plan, step)
        if mark is not None and mark.ended is not None and work >= _LEAST_S:
            took[step.command] += mark.seconds
            expected[step.command] += work
    return {command: took[command] / it for command, it in expected.items()}


def in_words(seconds: float) -> str:
    """For example `40 s`, `28 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
