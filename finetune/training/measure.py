"""The loss on held-out rows during a run, its best weights, and when to stop.

Measurements are in metrics.jsonl, so a run that was killed continues with them. The weights of the
best measurement are kept as a model under `best/`. Older best weights stay until the next
checkpoint is written, because a run may still be resumed from the last one.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agentlm.errors import OperatorError
from agentlm.files import sync
from agentlm.finetune.data.dataset import Rows
from agentlm.finetune.run import Run
from agentlm.finetune.settings import Training
from agentlm.finetune.training.packing import Pack, pack
from agentlm.finetune.training.processes import Processes
from agentlm.finetune.training.save import outputs, save_model
from agentlm.finetune.training.zero import share_out

HELD_OUT_LOSS = "held_out_loss"


@dataclass
class HeldOut:
    """What is measured during training, and the results so far."""

    rows: Rows
    training: Training
    run: Run
    processes: Processes
    steps: int
    """Steps of the whole run; the last one is always measured."""
    network: Any
    base: Path
    """The model files that the network was made from."""
    probe: Pack
    """A row to compare models by."""
    losses: dict[int, float] = field(default_factory=dict)
    """Each loss, by the number of steps that were done before it."""

    def __post_init__(self) -> None:
        rows = map(self.rows.token_row, range(len(self.rows)))
        training = self.training
        self._packs = list(pack(rows, training.pack_tokens, share=training.share_prefixes))

    @property
    def best(self) -> int | None:
        """The number of steps after which the loss was lowest."""
        return min(self.losses, key=lambda step: (self.losses[step], step), default=None)

    @property
    def last_is_best(self) -> bool:
        """Whether the final weights of the training are the best ones."""
        return self.best == max(self.losses, default=None)

    @property
    def exhausted(self) -> bool:
        """Whether it has not improved for so long that training should stop."""
        patience = self.training.patience
        return patience is not None and self._since_best() >= patience

    def _since_best(self) -> int:
        return sum(step > (self.best or 0) for step in self.losses)

    def due(self, done: int) -> bool:
        """Whether it is time to measure after `done` steps."""
        return done % self.training.eval_every == 0 or done == self.steps

    def resume(self, done: int) -> None:
        """Restore the measurements up to a checkpoint, and forget later ones."""
        lines = self.processes.once(self.run.metrics)
        measured = (line for line in lines if line["step"] < done and HELD_OUT_LOSS in line)
        self.losses = {int(line["step"]) + 1: line[HELD_OUT_LOSS] for line in measured}
        self.prune()

    def measure(self, engine: Any, done: int) -> float:
        """The mean loss of a held-out token. If it is the lowest so far, the weights are kept.

        Raises OperatorError if it is not finite.
        """
        loss = held_out_loss(engine, self._packs, self.processes)
        if not math.isfinite(loss):
            raise OperatorError(f"the loss on held-out rows became {loss}: try a lower --lr")
        self.losses[done] = loss
        if self.best == done:
            expected = outputs(engine.module, self.probe)
            save_model(engine, self.network, self.base, self._model(done), self.processes)
            if self.processes.first:
                with self._outputs(done).open("wb") as file:
                    np.save(file, expected.numpy())
                sync(self._outputs(done))
        return loss

    def prune(self) -> None:
        """Remove weights that are not the best according to any checkpoint."""
        if self.processes.first and self.run.best.is_dir():
            kept = () if self.best is None else (self._model(self.best), self._outputs(self.best))
            for path in self.run.best.iterdir():
                if path.is_dir() and path not in kept:
                    shutil.rmtree(path)
                elif path not in kept:
                    path.unlink()

    def take_best(self) -> torch.Tensor:
        """Make the best weights the run's model. Returns their output for the probe.

        Raises OperatorError if they are gone.
        """
        step, target = self.best or 0, self.run.model
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            expected = torch.from_numpy(np.load(self._outputs(step), allow_pickle=False))
            # They also stay in place: if the run is killed from now on, it comes back to them.
            shutil.copytree(self._model(step), partial, copy_function=os.link)
        except (OSError, ValueError, EOFError) as error:
            raise OperatorError(
                f"the best weights of {self.run.name}, those after step {step}, can't be read: "
                f"{error}"
            ) from error
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        sync(target.parent)
        return expected

    def _model(self, step: int) -> Path:
        return self.run.best / f"step{step}"

    def _outputs(self, step: int) -> Path:
        return self.run.best / f"step{step}.npy"


@torch.no_grad()
def held_out_loss(engine: Any, packs: Sequence[Pack], processes: Processes) -> float:
    """The mean loss of the packs' trained tokens over all processes."""
    engine.eval()
    total = sum(float(engine(part)) for part in share_out(packs, processes))
    engine.train()
    return processes.sum(total) / sum(float(part.weights.sum()) for part in packs)
