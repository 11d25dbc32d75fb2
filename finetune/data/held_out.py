"""Rows that are not trained on, so that their loss shows what was learned.

A row is held out together with all rows that would give it away: other rows of its task and of its
conversation (forks, corrections), and rows with the same question. The seed decides which. They are
in the run's own directory, so a killed run continues with the same ones.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from contextlib import closing

import numpy as np

from agentlm.errors import OperatorError
from agentlm.finetune.data.dataset import Row, Rows, RowWriter
from agentlm.finetune.data.pipeline import (
    Apart,
    Kept,
    Pipeline,
    content_filters,
    imitated,
    recorded_filters,
)
from agentlm.finetune.data.rows import RowMaker
from agentlm.finetune.data.sources import file_rows
from agentlm.finetune.filters.dedupe import task_of
from agentlm.finetune.filters.drops import Drops
from agentlm.finetune.filters.rules import Refused
from agentlm.finetune.run import Run
from agentlm.finetune.settings import FinetuneSettings

HELD_OUT = "held-out"
TUNED_ON = ("train", "dev", "dev2")
"""Splits that may be measured on during training, since the length of training is tuned by them."""
_DRAW = 0x48454C44
"""Added to the seed, so that this draw differs from the plan's."""
_TRAINED_ON = Refused("trained_on", "its task, conversation or question is trained on")
_HELD_OUT = Refused("held_out", "its task, conversation or question is held out")


class Kin:
    """Which rows belong together, collected as they come, and which of them are held out."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}
        self._rows: list[str] = []
        """One name of each agent row."""
        self._held: list[str] = []
        """One name of each held-out row."""

    def add(self, kept: Kept) -> None:
        """Count the next agent row."""
        self._rows.append(self._join(kept))

    def families(self) -> list[list[int]]:
        """Indices of the agent rows that belong together, in order of arrival."""
        families: dict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(self._rows):
            families[self._first(name)].append(index)
        return list(families.values())

    def hold(self, indices: Iterable[int]) -> None:
        """Mark these agent rows, which are whole families, as held out."""
        self._held += [self._rows[index] for index in indices]

    def hold_further(self, kept: Kept) -> None:
        """Mark a row that is measured on but is not an agent row."""
        self._held.append(self._join(kept))

    def refuse_trained(self) -> Apart:
        """Leaves out rows related to an agent row that is trained on."""
        trained = self._firsts(self._rows) - self._firsts(self._held)
        return lambda kept: _TRAINED_ON if trained & self._firsts(_names(kept)) else None

    def refuse_held(self) -> Apart:
        """Leaves out rows related to a held-out row."""
        held = self._firsts(self._held)
        return lambda kept: _HELD_OUT if held and held & self._firsts(_names(kept)) else None

    def _join(self, kept: Kept) -> str:
        first, *others = [self._first(name) for name in _names(kept)]
        for other in others:
            self._above[other] = first
        return first

    def _firsts(self, names: Iterable[str]) -> frozenset[str]:
        return frozenset(map(self._first, names))

    def _first(self, name: str) -> str:
        """The name that represents the whole family."""
        above = self._above.get(name, name)
        while above != name:
            # Halve the path for later look-ups.
            self._above[name] = self._above.get(above, above)
            name, above = above, self._above.get(above, above)
        return name


def _names(kept: Kept) -> Iterator[str]:
    """Names that relate rows: rows with a common name belong together."""
    trajectory = kept.trajectory
    yield f"row {trajectory.id}"
    if trajectory.parent_id is not None:
        yield f"row {trajectory.parent_id}"
    if (task := task_of(trajectory)) is not None:
        yield f"task {task}"
    # Rows of one kind often begin with the same instructions, so the question is the whole prefix.
    before = trajectory.steps[: kept.trained.index(True)]
    question = " ".join(step.text for step in before if step.role != "system")
    # Only its hash, so that memory does not grow with the text.
    yield f"question {hash(' '.join(question.lower().split()))}"


def draw(families: list[list[int]], share: float, seed: int) -> list[int]:
    """Draw rows to hold out: whole families, at most `share` of all rows, but at least one family.

    Raises OperatorError if nothing would be left to train on.
    """
    if len(families) < 2:
        raise OperatorError(
            "--eval-share: all rows are of one task, conversation or question, so none can be held "
            "out; give --eval-data FILE"
        )
    most = share * sum(map(len, families))
    order = np.random.default_rng([seed, _DRAW]).permutation(len(families))
    held: list[int] = []
    for index in order[:-1]:
        if len(held) + len(families[index]) <= most:
            held += families[index]
    return sorted(held or min((families[index] for index in order), key=len))


def write_held_out(
    run: Run, settings: FinetuneSettings, maker: RowMaker, agent: str, kin: Kin
) -> dict[str, Drops]:
    """Move a share of the agent rows out, and read files of more. Returns what the files left out.

    Raises OperatorError if there is nothing to measure on.
    """
    if not settings.holds_out:
        return {}
    with closing(RowWriter(run.directory / HELD_OUT)) as held:
        if settings.eval_share:
            chosen = draw(kin.families(), settings.eval_share, settings.seed)
            kin.hold(chosen)
            _move(run, agent, frozenset(chosen), held)
        return {HELD_OUT: _read(settings, maker, kin, held)} if settings.eval_data else {}


def open_held_out(run: Run) -> Rows | None:
    """The rows that the loss is measured on, if there are any."""
    directory = run.directory / HELD_OUT
    return Rows.open(directory) if directory.is_dir() else None


def _move(run: Run, name: str, chosen: Container[int], held: RowWriter) -> None:
    whole, rest = run.directory / name, run.directory / f"{name}-rest"
    with closing(RowWriter(rest)) as kept:
        for index, row in enumerate(_rows(Rows.open(whole))):
            (held if index in chosen else kept).add(row)
    shutil.rmtree(whole)
    rest.rename(whole)


def _rows(rows: Rows) -> Iterator[Row]:
    for index, name in enumerate(rows.names()):
        ids, loss = rows.row(index)
        yield Row(name, ids.tolist(), loss.tobytes())


def _read(settings: FinetuneSettings, maker: RowMaker, kin: Kin, held: RowWriter) -> Drops:
    drops = Drops()
    recorded = recorded_filters(settings, unjudged=True, splits=TUNED_ON)
    judging = recorded | content_filters(settings)
    marks = imitated(settings, unjudged=True)
    pipeline = Pipeline(judging, settings.scrub, marks, maker, {}, kin.refuse_trained())
    for kept in pipeline.run(file_rows(settings.eval_data, settings, drops), drops):
        kin.hold_further(kept)
        held.add(kept.row)
    if not drops.kept:
        raise OperatorError(f"--eval-data: nothing is left to measure on: {drops.summary()}")
    return drops
