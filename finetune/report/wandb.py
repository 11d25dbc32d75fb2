"""Weights & Biases, controlled by its usual variables: it gets a run if WANDB_PROJECT is set.

Its own library reads WANDB_API_KEY, WANDB_ENTITY, WANDB_MODE and the others.
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
    """Whether a project is named, and W&B is not turned off."""
    off = os.environ.get("WANDB_MODE") == "disabled" or "WANDB_DISABLED" in os.environ
    return bool(os.environ.get(PROJECT)) and not off


def check_installed() -> None:
    """Raise OperatorError if it is wanted but not installed, before hours of training."""
    if wanted() and find_spec("wandb") is None:
        raise OperatorError(f"{PROJECT} is set, and wandb is not installed: pip install wandb")


class WandbRun:
    """Reports the training to a run of W&B."""

    def __init__(self, there: Any) -> None:
        self._there = there

    def skip(self, tokens: float) -> None:
        """The run of W&B has the steps of an earlier process already."""

    def report(self, metrics: dict[str, float]) -> None:
        self._there.log(metrics, step=int(metrics["step"]))


@contextmanager
def wandb_run(run: Run, *, visible: bool = True) -> Iterator[list[WandbRun]]:
    """A run of W&B that continues when ours does; none if it is not wanted."""
    if not (visible and wanted()):
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
