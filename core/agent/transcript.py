"""A trajectory while it is being extended, and what the extension has cost so far."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from agentlm.trajectory import FinishReason, Origin, Outcome, Step, Usage


class Transcript:
    """The trajectory's steps, and their ids as one list."""

    def __init__(self, steps: Sequence[Step] = ()) -> None:
        self.steps = list(steps)
        self.ids = list(chain.from_iterable(step.token_ids or () for step in steps))
        self.first = len(self.steps)
        """Index of the first step that this run added."""
        self.sampled_tokens = 0
        """Tokens that this run sampled, including discarded ones."""
        self.reasoning_tokens = 0
        """The part of `sampled_tokens` spent on thoughts and calls."""
        self.cached_tokens = 0
        """Prompt tokens that the engine's prefix cache held when the run began."""
        self.prompt_tokens: int | None = None
        """The upstream's count, since it reports no ids. None: count the ids."""
        self.outcome = Outcome.RUNNING
        self.finish_reason: FinishReason | None = None

    def add(self, *steps: Step) -> None:
        for step in steps:
            self.steps.append(step)
            self.ids.extend(step.token_ids or ())

    def end(self, outcome: Outcome, finish_reason: FinishReason | None) -> None:
        self.outcome = outcome
        self.finish_reason = finish_reason

    def usage(self) -> Usage:
        """Usage of this run. Each unsampled token counts once, even if the engine got it several
        times."""
        kept = sum(
            len(step.token_ids or ())
            for step in self.steps[self.first :]
            if step.origin is Origin.SAMPLED
        )
        counted = self.prompt_tokens
        return Usage(
            prompt_tokens=len(self.ids) - kept if counted is None else counted,
            completion_tokens=self.sampled_tokens,
            reasoning_tokens=self.reasoning_tokens,
            cached_tokens=self.cached_tokens,
        )
