"""`agentlm reproduce`: repeat the experiment of docs/reproduction.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic_settings import CliToggleFlag

from agentlm.commands.reproduction.costs import in_words, plan_s
from agentlm.commands.reproduction.experiment import Experiment
from agentlm.commands.reproduction.machine import ThisMachine, exported, tell, typed
from agentlm.commands.reproduction.page import write_page
from agentlm.commands.reproduction.plan import Plan, load_plan
from agentlm.commands.reproduction.results import read_results
from agentlm.commands.reproduction.run import run_plan
from agentlm.environments.task import Split
from agentlm.printable import say
from agentlm.settings import Settings, parse


class ReproduceSettings(Settings):
    """Repeat the experiment of docs/reproduction.md: train, measure, write the page.

    agentlm reproduce --profile quick
    agentlm reproduce --profile quick --commands

    It runs commands that a person could type, and prints each. If it is killed, the same command
    continues from there.
    """

    profile: str = "full"
    """The plan: the name of one that comes with AgentLM (full, quick), or a YAML file."""
    split: Split = "test"
    """Split of the tasks that are measured on. Use dev while a recipe is tuned."""
    commands: CliToggleFlag[bool] = False
    """Print the commands and the time that each would take, and run nothing."""
    page_only: CliToggleFlag[bool] = False
    """Write the page for what is done so far, and run nothing."""
    page: Path | None = None
    """Where to write the page, besides the experiment's directory, which always gets it."""


def main(argv: Sequence[str]) -> int:
    settings = parse(ReproduceSettings, argv, "agentlm reproduce")
    plan = load_plan(settings.profile, settings.split)
    name = Path(settings.profile).stem
    directory = settings.data_dir / "reproduction" / f"{name}-{settings.split}"
    if settings.commands:
        say("\n".join(_commands(plan, directory)))
        return 0
    settings.prepare_data_dir()
    experiment = Experiment(directory)
    if settings.page_only:
        _write(plan, name, experiment, settings.page)
        return 0
    with experiment.held() as lock:
        machine = ThisMachine(experiment, plan.url, lock)
        tell(f"{plan.about}\nall of it takes about {in_words(plan_s(plan))} on two cores alone")
        tell(f"cd {directory}")
        tell(exported(machine.variables))
        run_plan(plan, experiment, machine, tell)
        _write(plan, name, experiment, settings.page)
    return 0


def _write(plan: Plan, name: str, experiment: Experiment, page: Path | None) -> None:
    results = read_results(plan, experiment)
    for place in (experiment.directory / "reproduction.md", page):
        if place is not None:
            tell("\n".join(map(str, write_page(plan, name, results, place.absolute()))))


def _commands(plan: Plan, directory: Path) -> list[str]:
    lines = [f"# {plan.about}", f"# about {in_words(plan_s(plan))} in all, in {directory}"]
    serving = None
    for step in plan.steps:
        if step.served not in (serving, None):
            lines.append(f"{typed(plan.serve_words(str(step.served)))} &")
        serving = step.served
        lines.append(f"{typed(step.words)}  # {in_words(plan_s(plan, [step]))}")
    return lines
