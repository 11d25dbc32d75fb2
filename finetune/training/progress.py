"""What a person sees during training: a bar on a terminal, otherwise a line for each step."""

from __future__ import annotations

from typing import Protocol

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from agentlm.console import Console
from agentlm.finetune.data.mixture import Plan, Source
from agentlm.finetune.run import Run


class Progress(Protocol):
    """Observes the training."""

    def skip(self, tokens: float) -> None:
        """Count tokens that an earlier process trained on."""
        ...

    def report(self, metrics: dict[str, float]) -> None:
        """One step is done."""
        ...


class Together:
    """Several observers of one training."""

    def __init__(self, *watching: Progress) -> None:
        self._watching = watching

    def skip(self, tokens: float) -> None:
        for one in self._watching:
            one.skip(tokens)

    def report(self, metrics: dict[str, float]) -> None:
        for one in self._watching:
            one.report(metrics)


class TrainingProgress:
    """Logs each step's loss, tokens per second and the remaining time; `bar` displays them."""

    def __init__(self, run: Run, plan: Plan, sources: list[Source], *, quiet: bool) -> None:
        self._run = run
        self._steps = plan.steps
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[line]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        total = sum(int(sources[s].rows.lengths[r]) for s, r in plan.draws)
        self._task = self.bar.add_task("training", total=total, line="")

    def skip(self, tokens: float) -> None:
        """Count tokens of steps that an earlier process did."""
        self.bar.advance(self._task, tokens)

    def report(self, metrics: dict[str, float]) -> None:
        speed = metrics["tokens"] / metrics["seconds"]
        line = (
            f"step {metrics['step'] + 1:.0f}/{self._steps}  loss {metrics['loss']:.4f}  "
            f"{speed:,.0f} tokens/s"
        )
        if "held_out_loss" in metrics:
            line += f"  held-out loss {metrics['held_out_loss']:.4f}"
        self._run.log(f"{line}  lr {metrics['lr']:.2e}")
        self.bar.update(self._task, advance=metrics["tokens"], line=line)
        if not self._console.is_terminal:
            self._console.print(line, soft_wrap=True)
