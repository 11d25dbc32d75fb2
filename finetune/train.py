"""The training loop: the plan's batches, packed, one optimizer step each, resumable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from typing import Any

from agentlm.finetune import zero
from agentlm.finetune.mixture import Plan, Source
from agentlm.finetune.packing import Pack, pack
from agentlm.finetune.processes import Processes
from agentlm.finetune.progress import Progress
from agentlm.finetune.run import Run
from agentlm.finetune.settings import Training


def train(
    engine: Any,
    sources: Sequence[Source],
    plan: Plan,
    training: Training,
    run: Run,
    processes: Processes,
    progress: Progress,
) -> None:
    """Do every step of the plan that is not done yet."""
    first = _resume(engine, run)
    if processes.first:
        run.forget_after(first)
        progress.skip(sum(line["tokens"] for line in run.metrics()))
    for step in range(first, plan.steps):
        started = time.perf_counter()
        rows = plan.batch(step, sources)
        packs = list(pack(rows, training.pack_tokens, share=training.share_prefixes))
        lr = zero.learning_rate(step, plan.steps, training)
        loss = zero.optimize(engine, packs, lr, processes)
        metrics = {
            "step": step,
            "loss": loss,
            "lr": lr,
            "rows": len(rows),
            "tokens": sum(len(ids) for ids, _ in rows),
            "computed_tokens": sum(len(laid.ids) for laid in packs),
            "trained_tokens": sum(float(laid.weights.sum()) for laid in packs),
            "seconds": time.perf_counter() - started,
        }
        if processes.first:
            run.add_metrics(metrics)
            progress.report(metrics)
        if (step + 1) % training.save_every == 0 and step + 1 < plan.steps:
            _save(engine, run, step + 1, processes)


def probe_pack(sources: Sequence[Source], plan: Plan) -> Pack:
    """One row of the plan, to compare models by."""
    return next(pack(plan.batch(0, sources)[:1], max_tokens=1))


def _resume(engine: Any, run: Run) -> int:
    """Load the last checkpoint; returns the first step that is to be done."""
    if not (run.checkpoints / "latest").exists():
        return 0
    _, state = engine.load_checkpoint(str(run.checkpoints), load_module_strict=False)
    return int(state["step"])


def _save(engine: Any, run: Run, step: int, processes: Processes) -> None:
    """Checkpoint; the one before goes only when the new one is whole."""
    engine.save_checkpoint(
        str(run.checkpoints),
        tag=f"step{step}",
        client_state={"step": step},
        exclude_frozen_parameters=True,
    )
    if processes.first:
        for old in run.checkpoints.glob("step*"):
            if old.name != f"step{step}":
                shutil.rmtree(old)
