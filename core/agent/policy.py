"""The policy contract: who says what comes next in a transcript.

Two implement it: `engine_policy` samples token ids from an engine, `upstream_policy` asks another
server for messages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from agentlm.agent.tool import Observation
from agentlm.agent.transcript import Transcript
from agentlm.messages import ToolCall
from agentlm.prompt.grammar import Fragment


class Policy(Protocol):
    """Says what comes next. Implementations append to the transcript what they produce."""

    def room(self, transcript: Transcript) -> int:
        """How many more tokens the model's context holds."""
        ...

    def next(
        self, transcript: Transcript, *, max_tokens: int, first: bool
    ) -> AsyncGenerator[Fragment, None]:
        """Write one turn: yields its fragments and leaves its sampled step last in `transcript`.

        However it is left (error, cancellation, `aclose`), what was sampled is in the transcript.
        `first`: this is the run's first turn, where the caller's choice of tool applies.
        """
        ...

    def observe(
        self, transcript: Transcript, call: ToolCall, observation: Observation, max_tokens: int
    ) -> Observation:
        """Append an observation, cut to `max_tokens` tokens; returns it as the model reads it."""
        ...

    def force_answer(self, transcript: Transcript) -> None:
        """Append what makes the next turn an answer."""
        ...
