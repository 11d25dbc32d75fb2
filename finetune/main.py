"""`agentlm finetune` at work: select, filter, tokenise, mix, train, save, register, publish.

This module is the whole story; each stage is a function elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from itertools import chain

import numpy as np

from agentlm.console import Console
from agentlm.errors import OperatorError
from agentlm.finetune.card import successor_card
from agentlm.finetune.data.mixture import Plan
from agentlm.finetune.data.prepare import Prepared, prepare, trained_already
from agentlm.finetune.filters.drops import example_lines
from agentlm.finetune.gate import gate
from agentlm.finetune.report.live import live_report
from agentlm.finetune.report.report import write_report
from agentlm.finetune.report.sample import marked
from agentlm.finetune.report.start import start_record
from agentlm.finetune.report.wandb import check_installed, wandb_run
from agentlm.finetune.run import Run, room_needed
from agentlm.finetune.settings import FinetuneSettings
from agentlm.finetune.training.progress import Progress, Together, TrainingProgress
from agentlm.models.cards import ModelCard
from agentlm.models.publish import check_server, publish
from agentlm.models.registry import Registry
from agentlm.store import Store

Watch = Callable[[Prepared, Plan], AbstractContextManager[Progress]]
"""Makes the observer of a run's training."""


def run(settings: FinetuneSettings) -> int:
    """Do what the settings ask for. Returns the exit code."""
    if settings.dry_run:
        dry_run(settings)
        return 0
    check_installed()
    if settings.publish:
        check_server(settings.publish, settings.api_key)
    before = trained_already(settings)
    card = finetune(settings, show) if before is None else go_on(settings, before)
    if settings.gate and card is not None:
        return 0 if gate(settings, card, settings.publish or "", settings.api_key).passed else 1
    return 0


def go_on(settings: FinetuneSettings, card: ModelCard) -> ModelCard | None:
    """Do the stages after training, which this command has finished before. Returns the card in the
    first process, else None."""
    if os.environ.get("RANK", "0") != "0":
        return None
    tell = Console(stderr=True, highlight=False, soft_wrap=True).print
    run = Run(settings.data_dir / "runs" / card.name)
    tidy(run)
    tell(f"{card.name} is trained already: {run.directory}")
    if settings.publish:
        tell(serve(settings.publish, settings.api_key, card))
    return card


def dry_run(settings: FinetuneSettings) -> None:
    """Do everything that training does, on a tiny model. Raises what fails."""
    from agentlm.finetune.dry_run import shrunken
    from agentlm.finetune.training import processes

    with shrunken(settings, processes.join()) as tiny:
        finetune(tiny, show)


def finetune(settings: FinetuneSettings, watch: Watch) -> ModelCard | None:
    """Train, register and publish a successor. Returns the card in the first process, else None.

    Raises OperatorError if another process trains a run of this name.
    """
    with room_needed(settings.data_dir), ExitStack() as held:
        return _finetune(settings, watch, held)


def _finetune(settings: FinetuneSettings, watch: Watch, held: ExitStack) -> ModelCard | None:
    # torch and DeepSpeed take seconds to import: --help and a wrong flag must not wait for them.
    from agentlm.finetune.training import bits, model, processes, reference, save, train, zero
    from agentlm.finetune.training.loss.methods import objective_of
    from agentlm.finetune.training.measure import HeldOut

    these = processes.join()
    dtype = model.training_dtype(settings.precision)
    bits.check(settings, dtype)
    tell = Console(stderr=True, quiet=not these.first, highlight=False, soft_wrap=True).print

    prepared = these.once(partial(begin, settings, held))
    run, base = prepared.run, prepared.base
    sources, plan = prepared.sources(), prepared.plan()
    if these.first:
        run.add_start(start_record())
        describe(prepared, tell)

    network = model.load_for_training(base.directory, base.adapter, settings)
    loss = model.pack_loss(network, objective_of(settings, sources, plan))
    refusal = model.choose_attention(loss, dtype)
    if refusal and these.first:
        run.log(f"attention is a call for each segment of a pack: FlexAttention {refusal}")
    engine = zero.open_engine(loss, settings, these)
    probe = train.probe_pack(sources, plan)
    note = reference.establish(engine, sources[0].rows, plan, settings, these)
    if note and these.first:
        run.log(note)
        tell(note)
    sources = prepared.sources()
    visible = these.first and not settings.dry_run
    held_out = None
    if (rows := prepared.held_out()) is not None:
        held_out = HeldOut(rows, settings, run, these, plan.steps, network, base.directory, probe)
    with (
        watch(prepared, plan) as progress,
        live_report(prepared, plan) as report,
        wandb_run(run, visible=visible) as elsewhere,
    ):
        watching = Together(progress, report, *elsewhere)
        train.train(engine, sources, plan, settings, run, these, watching, held_out)

    if these.first and train.too_old(run.metrics()[-1], settings):
        tell(f"ended after step {len(run.metrics())}: {train.TOO_OLD}")
    if held_out is None or held_out.last_is_best:
        expected = save.outputs(engine.module, probe)
        save.save_model(engine, network, base.directory, run.model, these)
    elif these.first:
        expected = held_out.take_best()
        tell(f"the best weights are those after step {held_out.best}: they are the model")
    if not these.first:
        return None
    del network, engine, held_out
    trained = (run.model, base.directory, probe, expected, dtype)
    difference = save.difference_of(*trained, settings.quantize)
    save.check_same(difference, run.model, dtype)
    run.log(f"saved and read back: it differs by {difference:.2g} nats a token")
    if settings.quantize != "none":
        apart = save.difference_of(*trained)
        note = (
            "on the whole base, as it is served, it differs from what was trained by "
            f"{apart:.2g} nats a token"
        )
        run.log(note)
        tell(note)

    write_report(run, sources, plan, prepared.renderer().decode_verbatim)
    if settings.dry_run:
        tell("the dry run went through: nothing of it is kept")
        return None
    card = register(settings, prepared)
    tidy(run)
    tell(f"{card.name} is registered: {run.directory}")
    if settings.publish:
        tell(serve(settings.publish, settings.api_key, card))
    return card


def tidy(run: Run) -> None:
    """Remove what only an unfinished run needs."""
    for passed in (run.checkpoints, run.best):
        shutil.rmtree(passed, ignore_errors=True)


def begin(settings: FinetuneSettings, held: ExitStack) -> Prepared:
    """Find or make the run, and lock it against other processes."""
    prepared = prepare(settings)
    held.enter_context(prepared.run.held())
    return prepared


def serve(url: str, api_key: str | None, card: ModelCard) -> str:
    """Make a running server serve the new model. Returns the outcome in a sentence."""
    try:
        answer = publish(url, api_key, card.name)
    except OperatorError as error:
        raise OperatorError(f"{card.name} is registered, but not served: {error}") from error
    return f"{url} serves {card.name}; it says: {answer!r}"


@contextmanager
def show(prepared: Prepared, plan: Plan) -> Iterator[TrainingProgress]:
    """Progress on the terminal of the first process."""
    quiet = os.environ.get("RANK", "0") != "0"
    progress = TrainingProgress(prepared.run, plan, prepared.sources(), quiet=quiet)
    with progress.bar:
        yield progress


def describe(prepared: Prepared, tell: Callable[[str], None]) -> None:
    """Describe what will be trained, and print one row with marks around what is trained on."""
    run, sources = prepared.run, prepared.sources()
    tell(f"training {run.name} from {prepared.base.card.name}: {run.directory}")
    drawn = np.bincount(prepared.plan().draws[:, 0], minlength=len(sources))
    for source, draws in zip(sources, drawn, strict=True):
        rows = source.rows
        tell(
            f"{source.name}: {len(rows)} rows, {rows.lengths.sum():,} tokens, "
            f"{rows.trained.sum():,} of them trained on; each row {draws / len(rows):.1f} times"
        )
    if (held_out := prepared.held_out()) is not None:
        tell(f"held out: {len(held_out)} rows, {held_out.trained.sum():,} tokens to measure on")
    for name, drops in run.read("selection.json").items():
        if drops["dropped"] or drops.get("out_of_form"):
            tell(f"{name}: {drops['summary']}")
        for line in example_lines(drops):
            tell(f"  {line}")
    if (run.directory / "rewards.json").exists():
        rewards = run.read("rewards.json")
        tell(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in rewards.items()))
    row = marked(sources[0].rows.row(0), prepared.renderer().decode_verbatim)
    run.log(f"the first row, trained on where marked:\n{row}")


def register(settings: FinetuneSettings, prepared: Prepared) -> ModelCard:
    """Record in the log which of its rows the model was trained on, and add the card.

    If the process is killed between the two, the log has a model that is not registered yet.
    """
    names = chain.from_iterable(source.rows.names() for source in prepared.sources())
    with closing(Store.open(settings.log_url())) as store:
        asyncio.run(store.mark_trained(prepared.run.name, names))
    registry, card = Registry(settings.data_dir), successor_card(prepared)
    if card.adapter is not None:
        registry.record_base(prepared.run.model, prepared.base.directory)
    return registry.add(card)
