"""The entry of `agentlm reproduce`: errors in flags, `--help` and `--commands` don't need the
extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic_settings import CliToggleFlag

from agentlm.commands.reproduction.costs import in_words, plan_s
from agentlm.commands.reproduction.experiment import Experiment
from agentlm.commands.reproduction.machine import typed
from agentlm.commands.reproduction.plan import Plan, load_plan
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
    name = f"{Path(settings.profile).stem}-{settings.split}"
    directory = settings.data_dir / "reproduction" / name
    if settings.commands:
        say("\n".join(_commands(plan, directory)))
        return 0
    from agentlm.commands.reproduction.main import reproduce, write

    settings.prepare_data_dir()
    work = write if settings.page_only else reproduce
    work(plan, settings.profile, Experiment(directory), settings.page)
    return 0


def _commands(plan: Plan, directory: Path) -> list[str]:
    lines = [f"# {plan.about}", f"# about {in_words(plan_s(plan))} in all, in {directory}"]
    serving = None
    for step in plan.steps:
        if step.served not in (serving, None):
            lines.append(f"{typed(plan.serve_words(str(step.served)))} &")
        serving = step.served
        lines.append(f"{typed(step.words)}  # {in_words(plan_s(plan, [step]))}")
    return lines
