"""From the log to a run's directory: select, filter, export, tokenise, plan.

Everything is written under a temporary name; a run's directory exists only when it is ready to
train.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from agentlm.cards import ModelCard
from agentlm.errors import OperatorError
from agentlm.files import exclusive
from agentlm.finetune.dataset import Row, Rows, RowWriter
from agentlm.finetune.export import agentinstruct_row
from agentlm.finetune.mixture import Batches, Plan, Source, make_plan
from agentlm.finetune.rows import Refused, loss_steps, make_row
from agentlm.finetune.run import Run
from agentlm.finetune.selection import Drops, majority_model, narrow
from agentlm.finetune.settings import FinetuneSettings
from agentlm.registry import ModelFiles, Registry
from agentlm.store import Store
from agentlm.trajectory import Trajectory

DEFAULT_BASE = "smollm2-135m"
"""Trained if no base is named and the log's rows came from no model whose weights are here."""


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to train."""

    run: Run
    base: ModelFiles

    def sources(self) -> list[Source]:
        """The token rows, memory-mapped."""
        return [Source("agent", Rows.open(self.run.directory / "agent"), 1.0)]

    def plan(self) -> Plan:
        """Which rows each step takes."""
        return Plan.load(self.run.directory / "plan.npz")


def prepare(settings: FinetuneSettings) -> Prepared:
    """Find or make the run that the settings mean.

    Raises OperatorError if nothing is left to train on, or if the name is taken.
    """
    data_dir = settings.prepare_data_dir()
    registry = Registry(data_dir)
    runs = data_dir / "runs"
    with closing(Store.open(settings.log_url())) as store, exclusive(runs / ".lock"):
        if settings.name is not None:
            _check_free(settings.name, registry)
            if (runs / settings.name).is_dir():
                return _go_on(Run(runs / settings.name), settings, registry)
        selection, drops = narrow(store, settings)
        base = registry.resolve(_base(settings, registry, majority_model(store, selection)))
        run = Run(runs / (settings.name or _free_name(base.card, registry, runs)))
        with _whole_or_absent(run.directory) as partial:
            _select(partial, settings, base.card, store.select(selection), drops)
            _plan(partial, settings, base)
    return Prepared(run, base)


def _check_free(name: str, registry: Registry) -> None:
    if any(card.name == name for card in registry.list()):
        raise OperatorError(f"a model is already called {name}: choose another --name")


def _go_on(run: Run, settings: FinetuneSettings, registry: Registry) -> Prepared:
    begun = run.read("recipe.json")
    run.check_recipe(settings.recipe() | {"base": settings.base or begun["base"]})
    run.log("going on")
    return Prepared(run, registry.resolve(registry.get(begun["base"])))


def _base(settings: FinetuneSettings, registry: Registry, majority: str | None) -> ModelCard:
    """The model to train: the one asked for, or the one that most rows came from."""
    if settings.base is not None:
        return registry.get(settings.base)
    known = {card.name: card for card in registry.list()}
    card = known.get(majority or "")
    return card if card and card.source != "upstream" else known[DEFAULT_BASE]


def _free_name(base: ModelCard, registry: Registry, runs: Path) -> str:
    """BASE-ft1, -ft2, …: the next number after those of models and runs that exist."""
    root = re.sub(r"-ft\d+$", "", base.name.rsplit("/", 1)[-1])
    taken = {card.name for card in registry.list()} | {path.name for path in runs.iterdir()}
    return next(name for n in count(1) if (name := f"{root}-ft{n}") not in taken)


@contextmanager
def _whole_or_absent(directory: Path) -> Iterator[Run]:
    """A directory to fill, which gets its name only if nothing went wrong."""
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield Run(partial)
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _select(
    run: Run,
    settings: FinetuneSettings,
    base: ModelCard,
    trajectories: Iterable[Trajectory],
    drops: Drops,
) -> None:
    """Filter the trajectories, export those that stay, and write their token rows."""
    with (
        RowWriter(run.directory / "agent") as rows,
        (run.directory / "agentinstruct.jsonl").open("w") as exported,
    ):
        for trajectory in trajectories:
            trained = loss_steps(trajectory, settings.min_reward)
            row = _row(trajectory, trained, base, settings)
            if isinstance(row, Refused):
                drops.add(trajectory.id, row)
                continue
            drops.kept += 1
            rows.add(row)
            line = agentinstruct_row(trajectory, trained)
            exported.write(json.dumps(line, ensure_ascii=False) + "\n")
    drops.check()
    run.write("selection.json", drops.to_json())
    run.log(drops.summary())


def _row(
    trajectory: Trajectory, trained: list[bool], base: ModelCard, settings: FinetuneSettings
) -> Row | Refused:
    digests = {step.tokenizer_digest for step in trajectory.steps}
    if digests != {base.tokenizer_digest}:
        odd = ", ".join(sorted(str(digest) for digest in digests))
        reason = f"recorded under {odd}, not {base.tokenizer_digest}"
        return Refused("other_tokenizer", reason)
    return make_row(trajectory, trained, settings.max_length)


def _plan(run: Run, settings: FinetuneSettings, base: ModelFiles) -> None:
    batches = Batches(
        settings.batch_size, settings.batch_tokens, settings.max_steps, settings.epochs
    )
    sources = Prepared(run, base).sources()
    plan = make_plan(sources, batches, unit="rows", seed=settings.seed)
    plan.save(run.directory / "plan.npz")
    run.write("recipe.json", settings.recipe() | {"base": base.card.name})
