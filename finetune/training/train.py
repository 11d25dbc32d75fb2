"""The training loop: the plan's batches, packed, one optimizer step each, resumable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from agentlm.errors import OperatorError
from agentlm.files import sync, write_text
from agentlm.finetune.data.mixture import Plan, Source
from agentlm.finetune.run import Run
from agentlm.finetune.settings import Training
from agentlm.finetune.training import zero
from agentlm.finetune.training.loss.objective import Objective
from agentlm.finetune.training.measure import HELD_OUT_LOSS, HeldOut
from agentlm.finetune.training.packing import Pack, pack
from agentlm.finetune.training.processes import Processes
from agentlm.finetune.training.progress import Progress

LATEST = "latest"
"""DeepSpeed's file with the name of the last checkpoint."""


def train(
    engine: Any,
    sources: Sequence[Source],
    plan: Plan,
    training: Training,
    run: Run,
    processes: Processes,
    progress: Progress,
    held_out: HeldOut | None = None,
) -> None:
    """Do the steps of the plan that are not done yet, until measuring says that it is enough."""
    first = _resume(engine, run)
    if processes.first:
        run.forget_after(first)
        progress.skip(sum(line["tokens"] for line in run.metrics()))
    processes.wait()
    if held_out:
        held_out.resume(first)
    for step in range(first, plan.steps):
        if held_out and held_out.exhausted:
            break
        started = time.perf_counter()
        # Dropout in a step is the same when a killed run repeats the step.
        torch.manual_seed(hash((training.seed, step, processes.rank)) & _SEEDS)
        rows = plan.batch(step, sources)
        packs = list(pack(rows, training.pack_tokens, share=training.share_prefixes))
        lr = zero.learning_rate(step, plan.steps, training)
        loss, norm = zero.optimize(engine, packs, lr, processes)
        metrics = {
            "step": step,
            "loss": loss,
            "lr": lr,
            "grad_norm": norm,
            "rows": len(rows),
            "tokens": sum(len(row.ids) for row in rows),
            "computed_tokens": sum(len(laid.ids) for laid in packs),
            "trained_tokens": sum(float(laid.weights.sum()) for laid in packs),
            "seconds": time.perf_counter() - started,
            **_measured(engine.module.objective, processes),
        }
        if held_out and held_out.due(step + 1):
            metrics[HELD_OUT_LOSS] = held_out.measure(engine, step + 1)
        if processes.first:
            run.add_metrics(metrics)
            progress.report(metrics)
        if too_old(metrics, training):
            if processes.first:
                run.log(f"ended after step {step + 1}: {TOO_OLD}")
            break
        if (step + 1) % training.save_every == 0 and step + 1 < plan.steps:
            _save(engine, run, step + 1, processes)
            if held_out:
                held_out.prune()


_SEEDS = 2**63 - 1
TOO_OLD = "the rows have become too old for the model (--min-effective); play new ones"


def too_old(metrics: Mapping[str, float], training: Training) -> bool:
    """Whether the rows of a step are too old to be informative about the present model."""
    return metrics.get("effective_sample_size", 1.0) < training.min_effective


def _measured(objective: Objective, processes: Processes) -> dict[str, float]:
    sums = {name: processes.sum(value) for name, value in objective.take_sums().items()}
    return objective.metrics(sums)


def probe_pack(sources: Sequence[Source], plan: Plan) -> Pack:
    """One row of the plan, for comparing models."""
    return next(pack(plan.batch(0, sources)[:1], max_tokens=1))


def _resume(engine: Any, run: Run) -> int:
    """Load the last checkpoint. Returns the first step that is still to be done.

    Raises OperatorError if it can't be read.
    """
    if not (run.checkpoints / LATEST).exists():
        return 0
    try:
        _, state = engine.load_checkpoint(str(run.checkpoints), load_module_strict=False)
        return int(state["step"])
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OperatorError(
            f"the last checkpoint of {run.name} can't be read ({reason}); if it is damaged, delete "
            f"{run.checkpoints} to begin again with the first step"
        ) from error


def _save(engine: Any, run: Run, step: int, processes: Processes) -> None:
    """Write a checkpoint. Only when it is on disk does it become the last, and the previous one is
    removed."""
    directory = run.checkpoints / f"step{step}"
    engine.save_checkpoint(
        str(run.checkpoints),
        tag=directory.name,
        client_state={"step": step},
        save_latest=False,
        exclude_frozen_parameters=True,
    )
    # All processes sync: files of other machines on a shared disk are theirs to flush.
    for path in (*directory.iterdir(), directory):
        sync(path)
    processes.wait()
    if processes.first:
        sync(run.directory / "metrics.jsonl")
        write_text(run.checkpoints / LATEST, directory.name)
        for old in run.checkpoints.glob("step*"):
            if old != directory:
                shutil.rmtree(old)
