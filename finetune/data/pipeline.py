"""The way of a trajectory into the data set: judged, scrubbed, tokenised, remembered, or left
out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from agentlm.exchange.files import Malformed, place_of
from agentlm.finetune.data.dataset import Row
from agentlm.finetune.data.rows import RowMaker, loss_steps
from agentlm.finetune.filters import rules as filters
from agentlm.finetune.filters.dedupe import NEAR_DUPLICATE, Cap, NearDuplicates, task_of
from agentlm.finetune.filters.drops import Drops
from agentlm.finetune.filters.judge import Asker, Judge
from agentlm.finetune.filters.leaks import Leaks, read_tasks
from agentlm.finetune.filters.rules import Filter, Refused, refuse
from agentlm.finetune.filters.scrub import scrub
from agentlm.finetune.settings import Filtering, FinetuneSettings, Scrubbing
from agentlm.trajectory import Trajectory

MALFORMED = "malformed"


class Kept(NamedTuple):
    """A trajectory that will be trained on."""

    trajectory: Trajectory
    """Its secrets are replaced."""
    trained: list[bool]
    """For each of its steps, whether the model learns it."""
    row: Row


Marks = Callable[[Trajectory], list[bool]]
"""For each step of a trajectory, whether the model learns it."""
Apart = Callable[[Kept], Refused | None]
"""Leaves out rows that would mix what is trained on with what is measured on."""


@dataclass(frozen=True)
class Pipeline:
    """The stages, in order."""

    judging: dict[str, Filter]
    """Filters that look at one trajectory alone."""
    scrubbing: Scrubbing
    marks: Marks
    maker: RowMaker
    remembering: dict[str, Filter]
    """Filters that compare it with kept ones, and therefore come last."""
    apart: Apart = lambda _kept: None

    def run(self, trajectories: Iterable[Trajectory | Malformed], drops: Drops) -> Iterator[Kept]:
        """The kept trajectories of a stream. `drops` counts the others."""
        for trajectory in trajectories:
            if isinstance(trajectory, Malformed):
                drops.add(trajectory.place, Refused(MALFORMED, trajectory.reason))
                continue
            kept = self._keep(trajectory, drops)
            if isinstance(kept, Refused):
                drops.add(place_of(trajectory), kept)
            else:
                drops.kept += 1
                drops.rendered_anew += self.maker.differs(kept.trajectory)
                drops.out_of_form += out_of_form(kept, thoughts=self.maker.renderer.thoughts)
                yield kept

    def _keep(self, trajectory: Trajectory, drops: Drops) -> Kept | Refused:
        if refused := refuse(trajectory, self.judging):
            return refused
        clean, secrets = scrub(trajectory, self.scrubbing)
        drops.scrubbed.update(secrets)
        trained = self.marks(clean)
        row = self.maker.row(clean, trained)
        if isinstance(row, Refused):
            return row
        kept = Kept(clean, trained, row)
        return self.apart(kept) or refuse(clean, self.remembering) or kept


def out_of_form(kept: Kept, *, thoughts: bool) -> bool:
    """Whether an imported row teaches turns that differ from the served form.

    With tools, the preamble and the constraint either require a thought or exclude it. Without
    tools, there is no place for a thought beside an answer.
    """
    trajectory = kept.trajectory
    if trajectory.source != "import":
        return False
    turns = [s for s, trained in zip(trajectory.steps, kept.trained, strict=True) if trained]
    if trajectory.tools:
        return any((step.thought is not None) is not thoughts for step in turns)
    return any(step.thought and not (step.call or step.answer) for step in turns)


def imitated(settings: FinetuneSettings, *, unjudged: bool) -> Marks:
    """Marks the steps with enough reward; with `unjudged` also steps that nobody judged."""
    return partial(loss_steps, min_reward=settings.min_reward, unjudged=unjudged)


def recorded_filters(
    settings: FinetuneSettings, *, unjudged: bool, splits: Sequence[str] = ("train",)
) -> dict[str, Filter]:
    """Filters by what the record says of a row's origin; for the log, the database has applied
    them.

    Tasks of an environment must be of one of `splits`.
    """
    chosen = {
        "may_not_train": filters.may_not_train,
        "outcome": filters.ended(settings.endings),
        "bad_reward": filters.bad_reward,
        "low_reward": filters.low_reward(settings.min_reward, unjudged=unjudged),
        "evaluation_task": filters.evaluation_task(*splits),
    }
    return _not_skipped(chosen, settings)


def content_filters(filtering: Filtering) -> dict[str, Filter]:
    """Filters by content; the most expensive one comes last."""
    chosen = {name: filters.unless_approved(it) for name, it in filters.CONTENT_FILTERS.items()}
    if filtering.judge_url and filtering.judge_model:
        asker = Asker(filtering.judge_url, filtering.judge_model, filtering.judge_api_key)
        chosen["judge"] = Judge(asker, filtering.judge_least)
    return _not_skipped(chosen, filtering)


def remembering_filters(filtering: Filtering) -> dict[str, Filter]:
    """The leak check, near duplicates and caps. Each source of the mixture gets its own."""
    chosen: dict[str, Filter] = {}
    if filtering.leak_check:
        chosen["leak"] = Leaks(read_tasks(filtering.leak_check))
    if NEAR_DUPLICATE not in filtering.skip_filters:
        chosen[NEAR_DUPLICATE] = NearDuplicates()
    if filtering.max_per_task is not None:
        chosen["task_cap"] = Cap(filtering.max_per_task, task_of)
    if filtering.max_per_owner is not None:
        chosen["owner_cap"] = Cap(filtering.max_per_owner, lambda trajectory: trajectory.owner)
    return chosen


def _not_skipped(chosen: dict[str, Filter], filtering: Filtering) -> dict[str, Filter]:
    return {name: judge for name, judge in chosen.items() if name not in filtering.skip_filters}
