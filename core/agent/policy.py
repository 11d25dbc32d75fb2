"""The policy contract: who writes what comes next in a transcript.

There are two implementations: `engine_policy` samples token ids from an engine, `upstream_policy`
asks another server for messages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from agentlm.agent.tool import Observation
from agentlm.agent.transcript import Transcript
from agentlm.messages import ToolCall
from agentlm.prompt.grammar import Fragment


class Policy(Protocol):
    """Writes what comes next, and appends it to the transcript."""

    def room(self, transcript: Transcript) -> int:
        """How many more tokens fit into the model's context."""
        ...

    def next(
        self, transcript: Transcript, *, max_tokens: int, first: bool
    ) -> AsyncGenerator[Fragment, None]:
        """Write one turn: yield its fragments, and leave its sampled step last in `transcript`.

        However the generator ends (error, cancellation, `aclose`), what was sampled is in the
        transcript. `first` marks the run's first turn, where the caller's choice of tool applies.
        """
        ...

    def observe(
        self, transcript: Transcript, call: ToolCall, observation: Observation, max_tokens: int
    ) -> Observation:
        """Append an observation, cut to `max_tokens` tokens, and return it as the model reads
        it."""
        ...

    def force_answer(self, transcript: Transcript) -> None:
        """Append what makes the next turn an answer."""
        ...
