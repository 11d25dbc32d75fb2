"""`agentlm reproduce`, once its flags are read: do the experiment, write its page."""

from __future__ import annotations

from pathlib import Path

from agentlm.commands.reproduction.costs import in_words, plan_s
from agentlm.commands.reproduction.experiment import Experiment
from agentlm.commands.reproduction.machine import ThisMachine, exported, tell
from agentlm.commands.reproduction.page import write_page
from agentlm.commands.reproduction.plan import Plan
from agentlm.commands.reproduction.results import read_results
from agentlm.commands.reproduction.run import run_plan


def reproduce(plan: Plan, profile: str, experiment: Experiment, page: Path | None) -> None:
    """Run what is left of the plan, then write its page, to `page` too."""
    with experiment.held() as lock:
        machine = ThisMachine(experiment, plan.url, lock)
        tell(f"{plan.about}\nall of it takes about {in_words(plan_s(plan))} on two cores alone")
        tell(f"cd {experiment.directory}")
        tell(exported(machine.variables))
        run_plan(plan, experiment, machine, tell)
        write(plan, profile, experiment, page)


def write(plan: Plan, profile: str, experiment: Experiment, page: Path | None) -> None:
    """Write the page for what is done so far, to `page` too."""
    results = read_results(plan, experiment)
    for place in (experiment.directory / "reproduction.md", page):
        if place is not None:
            tell("\n".join(map(str, write_page(plan, profile, results, place.absolute()))))
