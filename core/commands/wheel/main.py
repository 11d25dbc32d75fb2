"""`agentlm wheel`, once its flags are read: turns until it is enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agentlm.commands.reproduction.experiment import Experiment, Mark, read_beginning
from agentlm.commands.reproduction.machine import Machine, ThisMachine, exported, tell
from agentlm.commands.reproduction.run import Tell, run_plan
from agentlm.commands.wheel.checks import first_model
from agentlm.commands.wheel.page import write_page
from agentlm.commands.wheel.settings import WheelSettings
from agentlm.commands.wheel.turns import Wheel, why_ended
from agentlm.errors import OperatorError
from agentlm.models.aliases import Verdict
from agentlm.models.promotion import read_verdict
from agentlm.models.registry import Registry


def run(settings: WheelSettings) -> None:
    """Turn, with what this machine has."""
    settings.prepare_data_dir()
    experiment = Experiment(settings.directory, settings.data_dir)
    with experiment.held() as lock:
        machine = ThisMachine(
            experiment,
            settings.url or f"http://127.0.0.1:{settings.port}",
            lock,
            working_directory=Path.cwd(),
            store_url=settings.store_url,
        )
        tell(exported(machine.variables))
        turn(settings, experiment, machine, tell)


def turn(settings: WheelSettings, experiment: Experiment, machine: Machine, tell: Tell) -> Wheel:
    """Turn until it is enough, then test; what came of it.

    Raises OperatorError if a command fails, or if what is done was done otherwise.
    """
    wheel = so_far(settings, experiment)
    while (why := why_ended(wheel, marks := experiment.marks())) is None:
        begun = wheel.with_turn()
        tell(f"\nturn {len(begun.turns)} of {settings.turns}, by {wheel.last}")
        run_plan(begun.plan(marks), experiment, machine, tell)
        wheel = wheel.with_turn(_verdict(wheel, experiment.marks()))
        write_page(wheel, experiment)
    tell(f"\nthe wheel ends: {why}; {settings.alias} is {wheel.last}")
    run_plan(wheel.plan(experiment.marks(), tested=True), experiment, machine, tell)
    if not wheel.test_steps():
        tell("no model was promoted, so the test set was not used")
    tell(f"{write_page(wheel, experiment)}")
    return wheel


def so_far(settings: WheelSettings, experiment: Experiment) -> Wheel:
    """The wheel with the turns that are decided."""
    known = (experiment.directory / "plan.json").exists()
    start = _begun_with(settings, experiment) if known else None
    wheel = Wheel(
        settings=settings, start=start or first_model(settings, Registry(settings.data_dir))
    )
    marks = experiment.marks() if known else {}
    while (verdict := _verdict(wheel, marks)) is not None:
        wheel = wheel.with_turn(verdict)
    return wheel


def _begun_with(settings: WheelSettings, experiment: Experiment) -> str | None:
    start = read_beginning(experiment.directory).base
    if settings.base not in (None, start):
        raise OperatorError(
            f"the wheel {settings.name} began with {start}, not with --base {settings.base}: give "
            "another --name"
        )
    return start


def _verdict(wheel: Wheel, marks: Mapping[str, Mark]) -> Verdict | None:
    """What is decided of the next turn: by the gate, or because its tries taught nothing."""
    number = len(wheel.turns) + 1
    candidate = wheel.settings.candidate(number)
    trained, gated = (marks.get(f"{kind}-{number}") for kind in ("train", "gate"))
    if gated is not None and gated.ended:
        return read_verdict(wheel.settings.data_dir / "runs" / candidate / "gate.json")
    if trained is not None and trained.ended and not trained.makes:
        return Verdict(
            candidate=candidate,
            incumbent=wheel.last,
            passed=False,
            gain=0.0,
            reasons=("its tries left nothing to train on, so there was no successor",),
        )
    return None
