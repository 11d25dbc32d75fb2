"""The record: what serving writes is what training reads.

A **trajectory** is one token sequence and its story: an ordered tuple of **steps** whose
concatenated token ids are exactly what the engine read and generated. Every id (BOS, role headers,
end-of-turn) belongs to exactly one step, and sampled ids are never tokenised again. An
**interaction** is one choice of one request: what the client sent, what it got, and the range of
steps that came of it.

Step layout, in the letters the golden tests use:

* `P` prompt: a system or user turn, or an observation, with all of its control tokens; the header
  that opens the assistant's turn ends the last prompt step before it;
* `S` sampled: what the engine generated, its own end-of-turn included;
* `F` forced: tokens that the server put into the assistant's turn (`Final Answer:` on the last
  one), or the end-of-turn that it added where a stop string or a length cut the turn.
* imported: text of another system, rendered here.

Origin is a fact and never changes. Whether a step is trained on is decided when a data set is
built, never here. The log is append-only: changing the past makes a fork (`parent_id`,
`parent_step`).
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
"""OpenAI's values. Only an upstream filters."""


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
    """The grammar can't read what the model wrote (only without constrained decoding)."""
    CANCELLED = "cancelled"
    ERROR = "error"
    """Infrastructure failed: never rewarded, never trained on."""
    UNKNOWN = "unknown"
    """The server died during the run."""


class Sampling(Frozen):
    """How tokens are drawn. Field names and meanings are OpenAI's, or otherwise vLLM's."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    """Limit for all sampled tokens of a run; None: what the context leaves."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    top_logprobs: int = 0
    """How many alternatives to report for each token, besides the sampled one."""
    top_k: int = 0
    """Draw from this many likeliest tokens; 0: from all."""
    min_p: float = 0.0
    """Draw from tokens at least this likely, relative to the likeliest one."""
    repetition_penalty: float = 1.0
    min_tokens: int = 0
    """No turn ends before this many tokens."""
    stop_token_ids: tuple[int, ...] = ()
    """Ids that end a turn, besides the model's own end-of-turn."""
    include_stop_str_in_output: bool = False
    """The answer includes the stop string that ended it."""
    chat_template_kwargs: dict[str, bool | int | float | str] = {}
    """Settings of the chat template that rendered the prompt (vLLM's name)."""


class Step(Frozen):
    """A run of consecutive tokens of one role and one origin."""

    role: Role
    origin: Origin
    text: str
    """Decoded content without control tokens; on sampled steps exactly what the model wrote. If an
    upstream separates thoughts, calls and answers, this has them in the grammar's form."""
    token_ids: tuple[int, ...] | None
    """All ids, including control tokens. None only if an upstream API does not report them."""
    logprobs: tuple[float, ...] | None = None
    """On sampled steps, one per id: natural log, temperature 1, after the grammar's mask."""
    single_choice: tuple[bool, ...] | None = None
    """On constrained sampled steps, one per id: True if the grammar allowed only this token."""
    thought: str | None = None
    call: ToolCall | None = None
    answer: str | None = None
    """`thought`, `call` and `answer` are what the grammar read in `text`."""
    tool_call_id: str | None = None
    """On observations: the id of the call that it answers."""
    failed: bool = False
    """On observations: the tool refused or failed, and the model read why."""
    error: str | None = None
    """What was wrong with a turn: the grammar's message, or `repetition`."""
    finish_reason: Literal["stop", "length", "content_filter", "cancelled"] | None = None
    """On sampled steps: why sampling ended."""
    discarded_ids: tuple[int, ...] = ()
    """Ids sampled after the beginning of a stop string. They are not part of the sequence."""
    sampling: Sampling | None = None
    weights_version: str | None = None
    tokenizer_digest: str | None = None
    constraint_digest: str | None = None
    started: float = Field(default_factory=time.time)
    """Unix seconds."""
    seconds: float = 0.0
    """On sampled steps the generation time, on observations the tool's time."""


def template_settings(steps: Sequence[Step]) -> dict[str, bool | int | float | str]:
    """The template settings with which the last sampled step was rendered."""
    sampled = (step.sampling for step in reversed(steps) if step.sampling is not None)
    last = next(sampled, None)
    return last.chat_template_kwargs if last else {}


class Usage(Frozen):
    """Token counts of an interaction, in OpenAI's terms. Each unsampled token counts once."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """All sampled tokens."""
    reasoning_tokens: int = 0
    """The part of `completion_tokens` spent on thoughts and on calls."""
    cached_tokens: int = 0
    """The part of `prompt_tokens` that was in the engine's prefix cache."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Interaction(Frozen):
    """One choice of one request. Feedback, stored completions and usage refer to it."""

    completion_id: str
    """`chatcmpl-…`, as the client got it."""
    choice: int = 0
    owner: str
    created: float = Field(default_factory=time.time)
    """Unix seconds."""
    messages: tuple[Message, ...]
    """As received."""
    response: Message
    """As sent. What was generated but not delivered is in the steps only."""
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
    """On a cancelled stream: how many characters of content and reasoning were sent."""
    stored: bool = False
    """The client wants it listed among its stored completions (`store: true`)."""
    metadata: dict[str, str] = {}
    """The request's metadata, by which stored completions are found."""
    echo: dict[str, Any] = {}
    """The request's fields that an answer on this wire repeats, as the client wrote them."""


class Feedback(Frozen):
    """One judgement of an interaction by a person or a program."""

    name: str = "reward"
    value: bool | float | None = None
    """A number in [0, 1], or a boolean that counts as 0 or 1. None: only a comment."""
    comment: str | None = None
    author: str
    """The owner (of the API key) who gave it."""
    completion_id: str | None = None
    """The interaction whose steps it is about; None: the whole trajectory."""
    step: int | None = None
    """The index of the one step that it is about."""
    correction: str | None = None
    """What should have been said instead, at that step or as the answer. It is trained on in place
    of the original, which no longer is."""
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
    """How good it was, in [0, 1]. None: nobody judged it, so no agent is trained on it."""
    parent_id: str | None = None
    parent_step: int | None = None
    """For a fork: its first `parent_step` steps are a copy of the parent's. 0: it goes on from the
    same conversation, rendered anew."""
    metadata: dict[str, Any] = {}
    may_train: bool = True
    """Copied from the API key when the row is written."""
    interactions: tuple[Interaction, ...] = ()
    feedback: tuple[Feedback, ...] = ()

    def token_ids(self) -> Iterator[int]:
        """The whole sequence. Raises ValueError if an upstream reported no ids."""
        for index, step in enumerate(self.steps):
            if step.token_ids is None:
                raise ValueError(f"step {index} of {self.id} has no token ids")
            yield from step.token_ids
