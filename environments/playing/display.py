"""How a rollout goes, while it goes: done, solved so far, errors, tokens, time left.

On a terminal that is a bar; elsewhere a line a minute.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from agentlm.console import Console
from agentlm.environments.playing.progress import Result

_LINE_S = 60.0


class Display:
    """A progress bar that knows the success so far; on the screen while its `bar` is entered."""

    def __init__(self, console: Console, total: int) -> None:
        self.done = 0
        self.solved = 0
        self.reward = 0.0
        self.errors = 0
        self.last_error: str | None = None
        self._total = total
        self._known = 0
        self.tokens = 0
        self._console = console
        self._begun = self._printed_at = time.monotonic()
        self.bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
            transient=True,
        )
        self._task = self.bar.add_task("", total=total, state="")

    def count(self, results: Iterable[Result]) -> None:
        """Count what an earlier run has done."""
        for result in results:
            self._count(result)
        self._known = self.done
        self._show()

    def add(self, result: Result) -> None:
        """Count a try that is done now."""
        self._count(result)
        self.tokens += result.prompt_tokens + result.completion_tokens
        self._show()

    def _count(self, result: Result) -> None:
        self.done += 1
        self.errors += result.unfinished
        if not result.unfinished:
            self.solved += result.success
            self.reward += result.reward or 0.0
        self.last_error = result.error or self.last_error

    def _show(self) -> None:
        self.bar.update(self._task, completed=self.done, state=f"{self.summary()}{self._pace()}")
        now = time.monotonic()
        if not self._console.is_terminal and now - self._printed_at >= _LINE_S:
            self._printed_at = now
            print(
                f"{self.done} of {self._total} tries: {self.summary()}{self._pace()}",
                file=self._console.file,
                flush=True,
            )

    def _pace(self) -> str:
        """Tokens of the tries that were played now, and how long the rest takes at their pace."""
        played = self.done - self._known
        if not played:
            return ""
        seconds = (time.monotonic() - self._begun) * (self._total - self.done) / played
        left = timedelta(seconds=round(max(0.0, seconds)))
        return f"; {self.tokens:,} tokens, {left} left"

    def summary(self) -> str:
        """Success among the tries that have a result."""
        judged = self.done - self.errors
        share = f" ({self.solved / judged:.1%})" if judged else ""
        if self.reward > self.solved:
            share += f", mean reward {self.reward / judged:.3f}"
        failed = f"; {self.errors} failed, run again to repeat them" if self.errors else ""
        return f"{self.solved} of {judged} solved{share}{failed}"
