"""The page of a wheel: what each turn has brought, read from what its commands wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from agentlm.commands.reproduction.experiment import Experiment, read_beginning
from agentlm.commands.reproduction.page import template_of
from agentlm.commands.reproduction.results import read_compared, read_done
from agentlm.commands.wheel.settings import slug
from agentlm.commands.wheel.turns import Turn, Wheel, turn_hours
from agentlm.environments.playing.progress import Result, results_in
from agentlm.errors import OperatorError
from agentlm.files import write_text
from agentlm.finetune.run import Run
from agentlm.messages import Frozen
from agentlm.models.aliases import Verdict


class TurnResult(Frozen):
    """What one turn did, measured."""

    number: int
    incumbent: str
    tries: int
    """Tries that have a reward."""
    reward: float
    """Mean reward of these tries."""
    solved: float
    """Share of these tries that solved their task."""
    sampled_tokens: int
    rows: int
    """Rows that were trained on."""
    steps: int
    verdict: Verdict
    seconds: float


def write_page(wheel: Wheel, experiment: Experiment) -> Path:
    """Write the page; its file."""
    plan = wheel.plan(experiment.marks(), tested=True)
    text = template_of("agentlm.commands.wheel", "wheel.md.jinja").render(
        wheel=wheel,
        turns=list(_turns(wheel, experiment)),
        compared=read_compared(plan, experiment),
        done=read_done(plan, experiment),
        origin=read_beginning(experiment.directory),
    )
    page = experiment.directory / "wheel.md"
    write_text(page, text)
    return page


def _turns(wheel: Wheel, experiment: Experiment) -> Iterator[TurnResult]:
    marks = experiment.marks()
    for turn in wheel.turns:
        tries = list(_tries(wheel, turn))
        played = [it for it in tries if it.reward is not None]
        run = Run(experiment.data_dir / "runs" / wheel.settings.candidate(turn.number))
        trained = run.metrics()
        assert turn.verdict is not None, "a turn that is not decided has no place on the page"
        yield TurnResult(
            number=turn.number,
            incumbent=turn.incumbent,
            tries=len(played),
            reward=fmean([it.reward or 0.0 for it in played] or [0.0]),
            solved=fmean([float(it.success) for it in played] or [0.0]),
            sampled_tokens=sum(it.completion_tokens for it in tries),
            rows=_rows(run),
            steps=len(trained),
            verdict=turn.verdict,
            seconds=3600 * turn_hours(wheel, turn, marks),
        )


def _rows(run: Run) -> int:
    """Rows of the run that differ; none if the tries left nothing to train on."""
    if not run.directory.exists():
        return 0
    selection: dict[str, dict[str, int]] = run.read("selection.json")
    return sum(source["kept"] for source in selection.values())


def _tries(wheel: Wheel, turn: Turn) -> Iterator[Result]:
    for env in wheel.settings.env:
        title = f"{wheel.settings.candidate(turn.number)}-{slug(env)}"
        file = wheel.settings.data_dir / "rollouts" / title / "results.jsonl"
        try:
            yield from results_in(file)
        except (OSError, OperatorError) as error:
            raise OperatorError(f"{file} can't be read: {error}") from error
