"""The plan of a wheel: what its turns have been, and which commands the next one has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentlm.commands.reproduction.experiment import Mark
from agentlm.commands.reproduction.plan import Comparison, Plan, PlanStep
from agentlm.commands.wheel.settings import WheelSettings, slug
from agentlm.messages import Frozen
from agentlm.models.aliases import Verdict

TEST = "test"
"""How the names of the last steps begin."""


class Turn(Frozen):
    """One turn: who played, and what the gate said of the successor."""

    number: int
    incumbent: str
    verdict: Verdict | None = None
    """None: the gate has not measured it."""

    @property
    def passed(self) -> bool:
        """Whether the successor gets the alias."""
        return self.verdict is not None and self.verdict.passed


class Wheel(Frozen):
    """A wheel so far."""

    settings: WheelSettings
    start: str
    """The model that it began with."""
    turns: tuple[Turn, ...] = ()

    @property
    def last(self) -> str:
        """The model that has the alias after these turns."""
        passed = [turn.number for turn in self.turns if turn.passed]
        return self.settings.candidate(passed[-1]) if passed else self.start

    def with_turn(self, verdict: Verdict | None = None) -> Wheel:
        """And one more turn."""
        turn = Turn(number=len(self.turns) + 1, incumbent=self.last, verdict=verdict)
        return self.model_copy(update={"turns": (*self.turns, turn)})

    def steps_of(self, turn: Turn) -> list[PlanStep]:
        """The commands of one turn, as far as it is known which there are."""
        settings, number = self.settings, turn.number
        served = None if settings.url else turn.incumbent
        candidate = settings.candidate(number)
        steps = [
            PlanStep(
                name=f"play-{number}-{slug(env)}",
                run=settings.rollout(env, number, turn.incumbent),
                served=served,
                makes=(f"rollouts/{candidate}-{slug(env)}/results.jsonl",),
            )
            for env in settings.env
        ]
        train = settings.finetune(number, turn.incumbent)
        card = f"models/cards/{candidate}.json"
        steps.append(PlanStep(name=f"train-{number}", run=train, makes=(card,), refuses=True))
        steps.append(
            PlanStep(
                name=f"gate-{number}",
                run=settings.gate(number),
                served=served,
                makes=(f"runs/{candidate}/gate.json",),
                refuses=True,
                needs=(card,),
            )
        )
        if turn.passed:
            steps.append(PlanStep(name=f"promote-{number}", run=settings.promote(candidate)))
        return steps

    def test_steps(self) -> list[PlanStep]:
        """The first and the last model on the test set; nothing if they are the same."""
        if self.last == self.start:
            return []
        settings = self.settings
        return [
            PlanStep(
                name=f"{TEST}-{end}",
                run=settings.test(model, end),
                served=None if settings.url else model,
                makes=(f"evaluations/{settings.name}-{end}/report.json",),
            )
            for end, model in (("start", self.start), ("end", self.last))
        ]

    def plan(self, marks: Mapping[str, Mark], *, tested: bool = False) -> Plan:
        """The commands so far; each takes as long as the last one of its kind did."""
        settings = self.settings
        why = f"the wheel {settings.name} begins with it"
        begin = PlanStep(name="begin", run=settings.promote(self.start, why))
        steps = [begin, *(step for turn in self.turns for step in self.steps_of(turn))]
        steps += self.test_steps() if tested else []
        rates = {
            kind_of(step): mark.seconds
            for step in steps
            if (mark := marks.get(step.name)) is not None and mark.ended is not None
        }
        timed = [
            step.model_copy(update={"units": {kind_of(step): 1.0}})
            if kind_of(step) in rates
            else step
            for step in steps
        ]
        ends = (f"{settings.name}-end", f"{settings.name}-start")
        compared = Comparison(candidate=ends[0], base=ends[1], says="What has the wheel brought?")
        return Plan(
            about=f"The wheel {settings.name}: {settings.method} on {', '.join(settings.env)}.",
            base=self.start,
            port=settings.port,
            serve=f"agentlm serve {settings.serve_flags}".strip(),
            rates=rates,
            steps=tuple(timed),
            comparisons=(compared,) if tested and self.test_steps() else (),
        )


def kind_of(step: PlanStep) -> str:
    """What a step has in common with those of other turns."""
    return "-".join(part for part in step.name.split("-") if not part.isdigit())


def why_ended(wheel: Wheel, marks: Mapping[str, Mark]) -> str | None:
    """Why no further turn begins; None: one does."""
    turns, settings = wheel.turns, wheel.settings
    if any(name.startswith(f"{TEST}-") for name in marks):
        return "its test was begun"
    if len(turns) >= settings.turns:
        return "all turns are done"
    if len(turns) > 1 and not (turns[-1].passed or turns[-2].passed):
        return "two turns in a row have brought no model that passes"
    if settings.budget_hours is None:
        return None
    spent = sum(mark.seconds for mark in marks.values()) / 3600
    longest = max((turn_hours(wheel, turn, marks) for turn in turns), default=0.0)
    if not _begun(wheel, marks) and spent + longest >= settings.budget_hours:
        return (
            f"{spent:.2g} of {settings.budget_hours:g} hours are spent, and a turn has taken up to "
            f"{longest:.2g}"
        )
    return None


def turn_hours(wheel: Wheel, turn: Turn, marks: Mapping[str, Mark]) -> float:
    """How long a turn has worked."""
    names = [step.name for step in wheel.steps_of(turn)]
    return sum(marks[name].seconds for name in names if name in marks) / 3600


def _begun(wheel: Wheel, marks: Mapping[str, Mark]) -> bool:
    """Whether the next turn was begun before we were killed."""
    begun: Sequence[Turn] = wheel.with_turn().turns[-1:]
    return any(step.name in marks for turn in begun for step in wheel.steps_of(turn))
