"""The record: what serving writes is what training reads.

A **trajectory** is one token sequence and its story: an ordered tuple of **steps** whose token
ids, concatenated, are exactly what the engine saw and said. Every id (BOS, role headers,
end-of-turn) belongs to exactly one step, and what was sampled is never tokenised again. An
**interaction** is one choice of one request: what the client sent, what it got, and the range of
steps that came of it.

Step layout, in the letters the golden tests use:

* `P` prompt: a system or user turn, or an observation, with all of its control tokens; the header
  that opens the assistant's turn ends the last prompt step before it;
* `S` sampled: what the engine generated, its own end-of-turn included;
* `F` forced: tokens the server put into the assistant's mouth (`Final Answer:` on the last turn) or
  the end-of-turn it had to add where a stop string or a length cut the turn.
* imported: text of another system, rendered here.

Origin is a fact and never changes. Whether a step is trained on is decided when a data set is
built, never here. The log is append-only: a changed past is a fork (`parent_id`, `parent_step`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from agentlm.messages import Frozen, Message, Role, ToolCall, ToolSpec

TRAJECTORY_VERSION = 1

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""OpenAI's words. Only an upstream filters."""


class Origin(StrEnum):
    """Where a step's tokens came from."""

    PROMPT = "prompt"
    SAMPLED = "sampled"
    FORCED = "forced"
    IMPORTED = "imported"


class Outcome(StrEnum):
    """How a trajectory ended, not how well."""

    RUNNING = "running"
    REQUIRES_ACTION = "requires_action"
    """A client's tool was called; its result continues the trajectory."""
    COMPLETED = "completed"
    LIMIT = "limit"
    """Turns, tokens or context ran out."""
    INVALID = "invalid"
    """The model wrote what the grammar can't read (unconstrained decoding only)."""
    CANCELLED = "cancelled"
    ERROR = "error"
    """Infrastructure failed: never rewarded, never trained on."""
    UNKNOWN = "unknown"
    """The server died while it ran."""


class Sampling(Frozen):
    """How tokens are drawn. Field names and meanings are OpenAI's, or else vLLM's."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    """Bound on all sampled tokens of a run; None: what the context leaves."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    top_logprobs: int = 0
    """How many alternatives to report for each token, beside the sampled one."""
    top_k: int = 0
    """Draw from this many likeliest tokens; 0: from all."""
    min_p: float = 0.0
    """Draw from tokens at least this likely, as a share of the likeliest one's probability."""
    repetition_penalty: float = 1.0
    min_tokens: int = 0
    """No turn ends before this many tokens."""
    stop_token_ids: tuple[int, ...] = ()
    """Ids that end a turn beside the model's own end-of-turn."""
    include_stop_str_in_output: bool = False
    """The answer keeps the stop string that ended it."""
    chat_template_kwargs: dict[str, bool | int | float | str] = {}
    """What was set of the chat template that the prompt was rendered with (vLLM's name)."""


class Step(Frozen):
    """A run of consecutive tokens of one role and one origin."""

    role: Role
    origin: Origin
    text: str
    """Decoded content without control tokens; on sampled steps verbatim what the model wrote. An
    upstream tells thoughts, calls and answers apart: they stand here in the grammar's words."""
    token_ids: tuple[int, ...] | None
    """All ids, control tokens included. None only where an upstream API does not tell them."""
    logprobs: tuple[float, ...] | None = None
    """On sampled steps, one per id: natural log, temperature 1, after the grammar's mask."""
    single_choice: tuple[bool, ...] | None = None
    """On constrained sampled steps, one per id: True where the grammar left this token only."""
    thought: str | None = None
    call: ToolCall | None = None
    answer: str | None = None
    """`thought`, `call`, `answer`: what the grammar read in `text`."""
    tool_call_id: str | None = None
    """On observations: the call that this answers."""
    failed: bool = False
    """On observations: the tool refused or failed, and said so to the model."""
    error: str | None = None
    """What was wrong with a turn: the grammar's complaint, or `repetition`."""
    finish_reason: Literal["stop", "length", "content_filter", "cancelled"] | None = None
    """On sampled steps: why sampling ended."""
    discarded_ids: tuple[int, ...] = ()
    """Sampled after a stop string began: said by the engine, not part of the sequence."""
    sampling: Sampling | None = None
    weights_version: str | None = None
    tokenizer_digest: str | None = None
    constraint_digest: str | None = None
    started: float = Field(default_factory=time.time)
    """Unix seconds."""
    seconds: float = 0.0
    """Generation time of a sampled step, tool time of an observation."""


def template_settings(steps: Sequence[Step]) -> dict[str, bool | int | float | str]:
    """What was set of the chat template when the last of them was sampled."""
    sampled = (step.sampling for step in reversed(steps) if step.sampling is not None)
    last = next(sampled, None)
    return last.chat_template_kwargs if last else {}


class Usage(Frozen):
    """Token counts of an interaction by OpenAI's words; each unsampled token counts once."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """All sampled tokens."""
    reasoning_tokens: int = 0
    """The part of `completion_tokens` spent on thoughts and on calls."""
    cached_tokens: int = 0
    """The part of `prompt_tokens` that the engine's prefix cache held."""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


class Interaction(Frozen):
    """One choice of one request. Feedback, stored completions and usage hang on it."""

    completion_id: str
    """`chatcmpl-…`, as the client got it."""
    choice: int = 0
    owner: str
    created: float = Field(default_factory=time.time)
    """Unix seconds."""
    messages: tuple[Message, ...]
    """As received."""
    response: Message
    """As sent; what was generated but not delivered stands in the steps only."""
    finish_reason: FinishReason | None = None
    """None if the answer was not completed."""
    sampling: Sampling = Sampling()
    usage: Usage = Usage()
    trajectory_id: str
    first_step: int
    """Index of the first step that this request added."""
    end_step: int
    """One past its last step."""
    delivered: int | None = None
    """On a cancelled stream: characters of content and reasoning that had been sent."""
    stored: bool = False
    """The client asked for it to be listed among its stored completions (`store: true`)."""
    metadata: dict[str, str] = {}
    """The request's own, by which stored completions are found."""
    echo: dict[str, Any] = {}
    """What an answer repeats of its request, in the caller's words, where a wire does that."""


class Feedback(Frozen):
    """One judgement of an interaction by a person or a program."""

    name: str = "reward"
    value: bool | float | None = None
    """A number in [0, 1], or a boolean read as 0 or 1. None: a comment alone."""
    comment: str | None = None
    author: str
    """The owner (API key) that gave it."""
    completion_id: str | None = None
    """Binds it to one interaction's steps; None: the whole trajectory."""
    step: int | None = None
    """Binds it to one step, by its index."""
    correction: str | None = None
    """A demonstration: what should have been said instead, there or as the answer. It is trained on
    in the place of what was said, which no longer is."""
    created: float = Field(default_factory=time.time)


class Trajectory(Frozen):
    """One token sequence and its story."""

    version: int = TRAJECTORY_VERSION
    id: str = Field(default_factory=lambda: f"traj_{uuid.uuid4().hex}")
    created: float = Field(default_factory=time.time)
    """Unix seconds."""
    owner: str
    source: Literal["chat", "agent", "rollout", "import"]
    model: str
    environment: str | None = None
    task_id: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    steps: tuple[Step, ...] = ()
    outcome: Outcome = Outcome.RUNNING
    reward: float | None = None
    """How well, in [0, 1]; None: nobody judged it, so it never trains an agent."""
    parent_id: str | None = None
    parent_step: int | None = None
    """If it forked: its first `parent_step` steps are a copy of the parent's; 0: it goes on from
    what was said there, rendered anew."""
    metadata: dict[str, Any] = {}
    may_train: bool = True
    """Stamped from the API key when the row is written."""
    interactions: tuple[Interaction, ...] = ()
    feedback: tuple[Feedback, ...] = ()

    def token_ids(self) -> Iterator[int]:
        """The whole sequence. Raises ValueError where an upstream told no ids."""
        for index, step in enumerate(self.steps):
            if step.token_ids is None:
                raise ValueError(f"step {index} of {self.id} has no token ids")
            yield from step.token_ids
