"""How a rollout goes, while it goes: done, solved so far, errors."""

from __future__ import annotations

from collections.abc import Iterable

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agentlm.console import Console
from agentlm.environments.playing.progress import Result
from agentlm.trajectory import Outcome


class Display:
    """A progress bar that knows the success so far; on the screen while its `bar` is entered."""

    def __init__(self, console: Console, total: int) -> None:
        self.done = 0
        self.solved = 0
        self.errors = 0
        self.last_error: str | None = None
        self.bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self.bar.add_task("", total=total, state="")

    def count(self, results: Iterable[Result]) -> None:
        """Take in what an earlier run has done."""
        for result in results:
            self.add(result)

    def add(self, result: Result) -> None:
        """One more try is done."""
        self.done += 1
        self.solved += result.success
        self.errors += result.outcome is Outcome.ERROR
        self.last_error = result.error or self.last_error
        self.bar.update(self._task, completed=self.done, state=self.summary())

    def summary(self) -> str:
        """Success among the tries that have a result."""
        judged = self.done - self.errors
        share = f" ({self.solved / judged:.1%})" if judged else ""
        failed = f"; {self.errors} failed, run again to repeat them" if self.errors else ""
        return f"{self.solved} of {judged} solved{share}{failed}"
