"""From the log to a run's directory: select, filter, export, tokenise, plan.

Everything is written under a temporary name. A run's directory appears only when it is ready for
training.
"""

from __future__ import annotations

import gc
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from agentlm.errors import OperatorError
from agentlm.files import exclusive, sync
from agentlm.finetune.data.dataset import Rows
from agentlm.finetune.data.held_out import Kin, open_held_out, write_held_out
from agentlm.finetune.data.mixture import Batches, Plan, Source, make_plan
from agentlm.finetune.data.negatives import ToolSets
from agentlm.finetune.data.pipeline import Kept
from agentlm.finetune.data.rewarded.judging import Judging
from agentlm.finetune.data.rows import RowMaker
from agentlm.finetune.data.selection import LogRows, open_log
from agentlm.finetune.data.sources import (
    AGENT,
    general_rows,
    open_sources,
    write_agent_rows,
    write_general_rows,
)
from agentlm.finetune.filters.rules import TEMPLATE_MISMATCH
from agentlm.finetune.run import Run
from agentlm.finetune.settings import ADAPTER, DEFAULT_BASE, LATER, FinetuneSettings
from agentlm.models.cards import ModelCard
from agentlm.models.model_files import read_json
from agentlm.models.registry import NAME, ModelFiles, Registry, card_template
from agentlm.prompt.render import Renderer

_ALLOCATIONS = 20_000
"""Objects of some ten rows."""


@dataclass(frozen=True)
class Prepared:
    """A run that is ready for training."""

    run: Run
    base: ModelFiles

    def sources(self) -> list[Source]:
        """The token rows, memory-mapped."""
        return open_sources(self.run, self.run.read("recipe.json").get("general_loss", "imitate"))

    def held_out(self) -> Rows | None:
        """The rows for measuring the loss during training."""
        return open_held_out(self.run)

    def plan(self) -> Plan:
        """The rows of each step."""
        return Plan.load(self.run.directory / "plan.npz")

    def renderer(self) -> Renderer:
        """The base's renderer, which is also the successor's."""
        return load_renderer(self.base)


def prepare(settings: FinetuneSettings) -> Prepared:
    """Find or make the run of these settings.

    Raises OperatorError if nothing is left to train on, or if the name is taken.
    """
    data_dir = settings.prepare_data_dir()
    registry = Registry(data_dir)
    runs = data_dir / "runs"
    with exclusive(runs / ".lock"):
        if settings.name is not None:
            _check_free(settings.name, registry)
            if (runs / settings.name).is_dir():
                return _go_on(Run(runs / settings.name), settings, registry)
        with open_log(settings.log_url(), settings) as log:
            if not settings.data and not log.drops.left:
                log.drops.check()
            card = _base(settings, registry, log.majority_model())
            base = in_form(registry.resolve(card), settings)
            _check_whole(base)
            run = Run(runs / (settings.name or _free_name(base.card, registry, runs)))
            with _whole_or_absent(run.directory) as partial, _rare_collections():
                _write_rows(partial, settings, base, log, row_maker(settings, base, registry))
                _check_vocabulary(partial, base.directory)
                _write_plan(partial, settings, base)
    return Prepared(run, base)


def trained_already(settings: FinetuneSettings) -> ModelCard | None:
    """The model that this very command has made before; None: the name is free.

    Raises OperatorError if the name is another model's.
    """
    data_dir = settings.prepare_data_dir()
    cards = {card.name: card for card in Registry(data_dir).list()}
    if (card := cards.get(settings.name or "")) is None:
        return None
    run = Run(data_dir / "runs" / card.name)
    if (card.training or {}).get("run") != str(run.directory) or not run.directory.is_dir():
        raise OperatorError(f"a model is already called {card.name}: choose another --name")
    if changes := run.changes(_recipe_again(run, settings, cards), LATER):
        raise OperatorError(
            f"a model is already called {card.name}, trained with other settings ({changes}): "
            "choose another --name"
        )
    return card


def _recipe_of(settings: FinetuneSettings, base: ModelFiles) -> dict[str, object]:
    """The recipe of a run that begins. An adapter that goes on keeps its own settings."""
    recipe = settings.recipe() | {"base": base.card.name}
    if base.adapter is None or settings.full:
        return recipe
    config = read_json(base.adapter / "adapter_config.json")
    targets = config.get("target_modules")
    own = {
        "lora_rank": config.get("r"),
        "lora_alpha": config.get("lora_alpha"),
        "lora_targets": sorted(targets) if isinstance(targets, list) else targets,
        "lora_dropout": config.get("lora_dropout"),
    }
    return recipe | {name: value for name, value in own.items() if value is not None}


def _recipe_again(
    run: Run, settings: FinetuneSettings, cards: Mapping[str, ModelCard]
) -> dict[str, object]:
    """The recipe of these settings for an existing run."""
    begun = run.read("recipe.json")
    recipe = settings.recipe() | {"base": settings.base or begun["base"]}
    base = cards.get(str(recipe["base"]))
    if base is None or base.adapter is None or settings.full:
        return recipe
    own = set(ADAPTER) - settings.model_fields_set  # as the adapter has it
    return recipe | {name: begun[name] for name in own if name in begun}


def _check_free(name: str, registry: Registry) -> None:
    if not NAME.fullmatch(name):
        raise OperatorError(f"--name {name!r}: letters, digits, '.', '_' and '-' make a name")
    if any(card.name == name for card in registry.list()):
        raise OperatorError(f"a model is already called {name}: choose another --name")


def _go_on(run: Run, settings: FinetuneSettings, registry: Registry) -> Prepared:
    cards = {card.name: card for card in registry.list()}
    run.check_recipe(_recipe_again(run, settings, cards), LATER)
    run.log("going on")
    base = registry.get(run.read("recipe.json")["base"])
    return Prepared(run, in_form(registry.resolve(base), settings))


def in_form(base: ModelFiles, settings: FinetuneSettings) -> ModelFiles:
    """The base in its successor's form: with thoughts, if the base has them and should keep
    them."""
    thoughts = base.card.thoughts and settings.thoughts
    return replace(base, card=base.card.model_copy(update={"thoughts": thoughts}))


def _base(settings: FinetuneSettings, registry: Registry, majority: str | None) -> ModelCard:
    """The model to train: the requested one, or the one that most rows came from."""
    if settings.base is not None:
        return registry.get(settings.base)
    known = {card.name: card for card in registry.list()}
    card = known.get(majority or "")
    return card if card and card.source != "upstream" else known[DEFAULT_BASE]


def _free_name(base: ModelCard, registry: Registry, runs: Path) -> str:
    """BASE-ft1, -ft2, …: the next number after existing models and runs."""
    root = re.sub(r"-ft\d+$", "", base.name.rsplit("/", 1)[-1])
    taken = {card.name for card in registry.list()} | {path.name for path in runs.iterdir()}
    return next(name for n in count(1) if (name := f"{root}-ft{n}") not in taken)


@contextmanager
def _whole_or_absent(directory: Path) -> Iterator[Run]:
    """A directory to fill, which gets its name only if nothing fails."""
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield Run(partial)
        for path in (*partial.rglob("*"), partial):
            sync(path)
        partial.rename(directory)
        sync(directory.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect cyclic garbage less often: rows have none, and the search took a fifth of the
    time."""
    before = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def row_maker(settings: FinetuneSettings, base: ModelFiles, registry: Registry) -> RowMaker:
    length = min(settings.max_length, _context_length(base.directory))
    line = _line(settings, base.card, registry)
    ages = ages_of(base.card, registry)
    return RowMaker(load_renderer(base), length, line, settings.method, ages)


def ages_of(base: ModelCard, registry: Registry) -> dict[str, int]:
    """The versions of weights that the base came from, with the number of trainings since."""
    known = {card.name: card for card in registry.list()}
    ages: dict[str, int] = {}
    card: ModelCard | None = base
    version = base.weights_version
    while version is not None and version not in ages:
        ages[version] = len(ages)
        version = (card.training or {}).get("parent_weights") if card else None
        card = known.get(card.parent or "") if card else None
    return ages


def _line(settings: FinetuneSettings, base: ModelCard, registry: Registry) -> frozenset[str]:
    """The base and the models that it was trained from; empty if mismatches are allowed."""
    if TEMPLATE_MISMATCH in settings.skip_filters:
        return frozenset()
    known = {card.name: card for card in registry.list()}
    line: set[str] = set()
    name: str | None = base.name
    while name is not None and name not in line:
        line.add(name)
        name = known[name].parent if name in known else None
    return frozenset(line)


def _write_rows(
    run: Run, settings: FinetuneSettings, base: ModelFiles, log: LogRows, maker: RowMaker
) -> None:
    """Write the rows of every source, what was left out of each, and how they are mixed."""
    tools = ToolSets()
    # No server has the tiny base of a dry run.
    served_name = (settings.dry_run and base.card.parent) or base.card.name
    kin = Kin()
    note = kin.add if settings.holds_out else _ignore
    judging = Judging(settings, maker.ages) if settings.method != "sft" else None
    note = judging.add if judging else note
    drops_by_source = {AGENT: write_agent_rows(run, settings, maker, log, tools, note)}
    if judging:
        judging.write(run, AGENT, drops_by_source[AGENT])
    drops_by_source |= write_held_out(run, settings, maker, AGENT, kin)
    drops_by_source |= write_general_rows(
        run,
        settings,
        maker,
        lambda location: general_rows(
            location, settings, log, served_name, tools.all(), thoughts=maker.renderer.thoughts
        ),
        kin.refuse_held(),
    )
    run.write("selection.json", {name: drops.to_json() for name, drops in drops_by_source.items()})
    for name, drops in drops_by_source.items():
        run.log(f"{name}: {drops.summary()}")


def _ignore(_kept: Kept) -> None:
    """Nothing is held out, so relations between rows don't matter."""


def load_renderer(model: ModelFiles) -> Renderer:
    """The renderer with which the model is served."""
    card = model.card
    template = card_template(card, model.directory)
    return Renderer.load(
        model.directory,
        template,
        system_prompt=card.system_prompt,
        system=card.system,
        thoughts=card.thoughts,
    )


def _context_length(directory: Path) -> int:
    """Context length of a model in transformers' format, in tokens."""
    config = json.loads((directory / "config.json").read_text())
    # Names in Llama and its relatives; a sliding window would need another attention.
    limits = (config.get("max_position_embeddings"), config.get("sliding_window"))
    return min(int(limit) for limit in limits if limit)


def _check_whole(base: ModelFiles) -> None:
    """Raise OperatorError if the weights are quantized: neither they nor an adapter beside them can
    be trained here."""
    config = json.loads((base.directory / "config.json").read_text())
    if quantization := config.get("quantization_config"):
        kind = quantization.get("quant_method", "in a way that config.json does not name")
        raise OperatorError(
            f"--base {base.card.name}: its weights are quantized ({kind}), which can't be trained; "
            "give the model that they were made from; --quantize nf4 keeps it in 4 bits meanwhile"
        )


def _check_vocabulary(run: Run, directory: Path) -> None:
    """Raise OperatorError if a row has an id without an embedding in the model."""
    size = int(json.loads((directory / "config.json").read_text())["vocab_size"])
    highest = max(int(source.rows.ids.max()) for source in open_sources(run))
    if highest >= size:
        raise OperatorError(
            f"the tokenizer in {directory} is another model's: it gave the id {highest}, and the "
            f"model has embeddings of {size} ids"
        )


def _write_plan(run: Run, settings: FinetuneSettings, base: ModelFiles) -> None:
    batches = Batches(
        settings.batch_size, settings.batch_tokens, settings.max_steps, settings.epochs
    )
    plan = make_plan(open_sources(run), batches, unit=settings.mix_by, seed=settings.seed)
    plan.save(run.directory / "plan.npz")
    run.write("recipe.json", _recipe_of(settings, base))
