"""Weights & Biases, by its usual variables: a run is shown there if WANDB_PROJECT is set.

WANDB_API_KEY, WANDB_ENTITY, WANDB_MODE and the others are read by its own library.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from agentlm.errors import OperatorError
from agentlm.finetune.run import Run

PROJECT = "WANDB_PROJECT"


def wanted() -> bool:
    """Whether a project is named, and nothing says that it is not to be used."""
    off = os.environ.get("WANDB_MODE") == "disabled" or "WANDB_DISABLED" in os.environ
    return bool(os.environ.get(PROJECT)) and not off


def check_installed() -> None:
    """Raise OperatorError if it is wanted and not there, before hours of training."""
    if wanted() and find_spec("wandb") is None:
        raise OperatorError(f"{PROJECT} is set, and wandb is not installed: pip install wandb")


class WandbRun:
    """Tells a run of W&B how the training goes."""

    def __init__(self, there: Any) -> None:
        self._there = there

    def skip(self, tokens: float) -> None:
        """Steps of an earlier process are there already."""

    def report(self, metrics: dict[str, float]) -> None:
        """One step is done."""
        self._there.log(metrics, step=int(metrics["step"]))


@contextmanager
def wandb_run(run: Run, *, shown: bool = True) -> Iterator[list[WandbRun]]:
    """A run over there that goes on when ours does; none if it is not wanted."""
    if not (shown and wanted()):
        yield []
        return
    begun = (run.starts() or [{"time": ""}])[0]["time"]
    there = import_module("wandb").init(
        name=os.environ.get("WANDB_NAME", run.name),
        id=hashlib.sha256(f"{run.directory} {begun}".encode()).hexdigest()[:16],
        resume="allow",
        dir=str(run.directory),
        config=run.read("recipe.json"),
    )
    try:
        yield [WandbRun(there)]
    finally:
        there.finish()
