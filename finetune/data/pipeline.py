"""One trajectory's way into the data set: judged, scrubbed, tokenised, remembered, or left out."""

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
    """A trajectory that is trained on."""

    trajectory: Trajectory
    """Without its secrets."""
    trained: list[bool]
    """For each of its steps whether the model learns to say it."""
    row: Row


Marks = Callable[[Trajectory], list[bool]]
"""For each step of a trajectory whether the model learns from it."""
Apart = Callable[[Kept], Refused | None]
"""Leaves out what would bring rows that are trained on and rows that are measured on together."""


@dataclass(frozen=True)
class Pipeline:
    """The stages, in order."""

    judging: dict[str, Filter]
    """Look at one trajectory alone."""
    scrubbing: Scrubbing
    marks: Marks
    maker: RowMaker
    remembering: dict[str, Filter]
    """Compare it with what was kept before, so they come last."""
    apart: Apart = lambda _kept: None

    def run(self, trajectories: Iterable[Trajectory | Malformed], drops: Drops) -> Iterator[Kept]:
        """What is kept of a stream; `drops` counts the rest."""
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
    """Whether an imported row teaches turns that are not in the form that is served.

    With tools, preamble and constraint ask for a thought, or for none. Without, there is no place
    for a thought that stands beside an answer.
    """
    trajectory = kept.trajectory
    if trajectory.source != "import":
        return False
    turns = [s for s, trained in zip(trajectory.steps, kept.trained, strict=True) if trained]
    if trajectory.tools:
        return any((step.thought is not None) is not thoughts for step in turns)
    return any(step.thought and not (step.call or step.answer) for step in turns)


def imitated(settings: FinetuneSettings, *, unjudged: bool) -> Marks:
    """What was said well enough; with `unjudged` what nobody judged too."""
    return partial(loss_steps, min_reward=settings.min_reward, unjudged=unjudged)


def recorded_filters(
    settings: FinetuneSettings, *, unjudged: bool, splits: Sequence[str] = ("train",)
) -> dict[str, Filter]:
    """What the record tells of how a row came about; the database has told it of the log's.

    Tasks of an environment must be of one of `splits`.
    """
    found = {
        "may_not_train": filters.may_not_train,
        "outcome": filters.ended(settings.endings),
        "bad_reward": filters.bad_reward,
        "low_reward": filters.low_reward(settings.min_reward, unjudged=unjudged),
        "evaluation_task": filters.evaluation_task(*splits),
    }
    return _not_skipped(found, settings)


def content_filters(filtering: Filtering) -> dict[str, Filter]:
    """What only its content tells; the dearest comes last."""
    found = {name: filters.unless_approved(it) for name, it in filters.CONTENT_FILTERS.items()}
    if filtering.judge_url and filtering.judge_model:
        asker = Asker(filtering.judge_url, filtering.judge_model, filtering.judge_api_key)
        found["judge"] = Judge(asker, filtering.judge_least)
    return _not_skipped(found, filtering)


def remembering_filters(filtering: Filtering) -> dict[str, Filter]:
    """The leak check, near duplicates and caps; one set for each source of the mixture."""
    found: dict[str, Filter] = {}
    if filtering.leak_check:
        found["leak"] = Leaks(read_tasks(filtering.leak_check))
    if NEAR_DUPLICATE not in filtering.skip_filters:
        found[NEAR_DUPLICATE] = NearDuplicates()
    if filtering.max_per_task is not None:
        found["task_cap"] = Cap(filtering.max_per_task, task_of)
    if filtering.max_per_owner is not None:
        found["owner_cap"] = Cap(filtering.max_per_owner, lambda trajectory: trajectory.owner)
    return found


def _not_skipped(found: dict[str, Filter], filtering: Filtering) -> dict[str, Filter]:
    return {name: judge for name, judge in found.items() if name not in filtering.skip_filters}
