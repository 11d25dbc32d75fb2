"""The report and TensorBoard's events during a run, so that even a killed one can be read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentlm.finetune.data.mixture import Plan
from agentlm.finetune.data.prepare import Prepared
from agentlm.finetune.report.report import write_report

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

SCALARS = (
    *("loss", "held_out_loss", "lr", "grad_norm", "tokens", "seconds"),
    *("ratio", "capped", "effective_sample_size", "expected_gain"),
    *("accuracy", "margin", "margin_good", "margin_bad"),
)
LEAST_PAUSE_S = 60.0
MOST_SHARE = 0.02
"""Largest share of a run's time that reports may take."""


class LiveReport:
    """Observes each step. Writes its events at once, and the report from time to time."""

    def __init__(self, prepared: Prepared, plan: Plan) -> None:
        self._run = prepared.run
        self._plan = plan
        self._sources = prepared.sources()
        self._decode = prepared.renderer().decode_verbatim
        self._events: SummaryWriter | None = None
        self._due = 0.0

    def skip(self, tokens: float) -> None:
        """Steps of an earlier process are already in its events and metrics."""

    def report(self, metrics: dict[str, float]) -> None:
        step = int(metrics["step"])
        events = self._events = self._events or self._open(step)
        for name in SCALARS:
            if name in metrics:
                events.add_scalar(name, metrics[name], step)
        events.flush()
        began = time.monotonic()
        if began >= self._due:
            write_report(self._run, self._sources, self._plan, self._decode)
            now = time.monotonic()
            self._due = now + max(LEAST_PAUSE_S, (now - began) / MOST_SHARE)

    def close(self) -> None:
        """End the events. The last report is written when the model is saved."""
        if self._events:
            self._events.close()

    def _open(self, step: int) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        # Steps that are repeated after a kill would otherwise appear twice.
        return SummaryWriter(str(self._run.directory / "tensorboard"), purge_step=step)


@contextmanager
def live_report(prepared: Prepared, plan: Plan) -> Iterator[LiveReport]:
    """The report of a run while it trains."""
    report = LiveReport(prepared, plan)
    try:
        yield report
    finally:
        report.close()
