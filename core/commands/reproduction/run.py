"""Run a plan: every step that is not done, in order, with a line about each."""

from __future__ import annotations

from collections.abc import Callable

from agentlm import __version__
from agentlm.commands.reproduction.costs import in_words, paces, plan_s
from agentlm.commands.reproduction.experiment import Beginning, Experiment
from agentlm.commands.reproduction.machine import Machine, typed
from agentlm.commands.reproduction.plan import PROGRAM, Plan, PlanStep
from agentlm.errors import OperatorError

Tell = Callable[[str], None]


def run_plan(plan: Plan, experiment: Experiment, machine: Machine, tell: Tell) -> None:
    """Run the steps that are not done yet.

    Raises OperatorError if a step fails, or if the directory belongs to another plan.
    """
    experiment.claim(_origin(plan, machine))
    experiment.check(plan)
    if (free := machine.free_gb()) < plan.disk_gb:
        raise OperatorError(
            f"{free:.1f} GB are free in {experiment.directory} and the experiment writes about "
            f"{plan.disk_gb:g}: make room, or give another --data-dir"
        )
    running = Running(plan, experiment, machine, tell)
    try:
        for number, step in enumerate(plan.steps, 1):
            running.see_to(number, step)
    except KeyboardInterrupt:
        tell("stopped; the same command goes on from here")
        raise
    finally:
        machine.stop_serving()


def _origin(plan: Plan, machine: Machine) -> Beginning:
    commit, about = machine.about()
    weights = machine.weights(plan.base) if plan.base else None
    return Beginning(
        base=plan.base, weights=weights, agentlm=__version__, commit=commit, machine=about
    )


class Running:
    """A plan that is being run."""

    def __init__(self, plan: Plan, experiment: Experiment, machine: Machine, tell: Tell) -> None:
        self._plan = plan
        self._experiment = experiment
        self._machine = machine
        self._tell = tell
        self._serving: str | None = None

    def see_to(self, number: int, step: PlanStep) -> None:
        """Run a step unless it is done. Raises OperatorError if it fails."""
        place = f"step {number} of {len(self._plan.steps)}, {step.name}"
        if self._experiment.is_done(step):
            return
        if missing := self._missing(step):
            self._tell(f"{place}: left out, because {' and '.join(missing)} is not there")
            return
        self._tell(f"\n{place}{self._how_long(step)}")
        self._experiment.begin(step, self._machine.now())
        seconds, refused = self._run(place, step)
        self._experiment.end(step, seconds, self._machine.now(), refused=refused)

    def _how_long(self, step: PlanStep) -> str:
        """How long it and all that is left takes, if anything is known of it."""
        if not step.units:
            return ""
        return f": about {self._left([step])}; {self._left(self._undone())} left in all"

    def _run(self, place: str, step: PlanStep) -> tuple[float, bool]:
        """Run the command; how long it took, and whether it said no."""
        self._serve(step.served)
        self._tell(f"$ {typed(step.words)}")
        began, code = self._machine.now(), None
        try:
            code = self._machine.run(step.words)
        finally:
            seconds = self._machine.now() - began
            done = code == 0 or (code == 1 and step.refuses)
            if not done:
                self._experiment.pause(step, seconds)
        if not done:
            raise OperatorError(
                f"{place} failed ({PROGRAM} {step.command} ended with {code}); what is done is "
                "kept, and the same command goes on from here"
            )
        return seconds, code == 1

    def _missing(self, step: PlanStep) -> list[str]:
        known = self._machine.models() if step.needs else frozenset()
        files = self._experiment.data_dir
        return [it for it in step.needs if it not in known and not (files / it).exists()]

    def _serve(self, model: str | None) -> None:
        """Serve this model and no other: two would share the cores and the memory. None: serve
        none."""
        if model == self._serving:
            return
        self._machine.stop_serving()
        self._serving = None
        if model is not None:
            words = self._plan.serve_words(model)
            self._tell(f"$ {typed(words)} &")
            self._machine.serve(model, words)
            self._serving = model

    def _undone(self) -> list[PlanStep]:
        steps = [step for step in self._plan.steps if not self._experiment.is_done(step)]
        made = {file for step in steps for file in step.makes}
        return [step for step in steps if made.issuperset(self._missing(step))]

    def _left(self, steps: list[PlanStep]) -> str:
        return in_words(plan_s(self._plan, steps, paces(self._plan, self._experiment.marks())))
