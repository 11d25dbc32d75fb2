"""What goes into the store and what comes out, besides the record's own types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentlm.messages import Frozen
from agentlm.store.idempotency import KeptAnswer
from agentlm.trajectory import Interaction, Step, Trajectory


@dataclass(frozen=True, slots=True)
class Addition:
    """What a request adds to its conversation when it ends."""

    conversation_id: str
    items: tuple[Mapping[str, Any], ...] = ()
    """Empty if it was not answered; then the conversation stays as it was."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One durable addition to a trajectory: a step of a run, or a whole answered choice."""

    trajectory: Trajectory
    """The new header. Its `steps`, `interactions` and `feedback` are ignored. Its `reward` is kept,
    as a score, when the trajectory begins, and ignored later."""
    first_step: int
    """Index of the first of `steps`, which is the number of steps already stored."""
    steps: tuple[Step, ...]
    interaction: Interaction | None = None
    """Inserted, or if it exists, its response, range and usage are updated."""
    keys: tuple[str, ...] = ()
    """Continuation keys of the conversation after `steps`."""
    tool_call_ids: tuple[str, ...] = ()
    """Calls of client tools at the end of these steps. Their results continue here."""
    lease_s: float = 900.0
    """How long a trajectory counts as `running` without another entry. Then it reads as
    `unknown`."""
    kept: KeptAnswer | None = None
    """The answer to a request with an Idempotency-Key. It is kept if and only if this entry is."""
    addition: Addition | None = None
    """What the request adds to the conversation that it continued."""
    content: bool = True
    """False keeps only counts and audit (`store: false`, `log: metadata`): no text, token ids,
    arguments, metadata or continuation. It holds for a whole trajectory and its forks."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """The place in the log where a conversation goes on."""

    trajectory: Trajectory
    """Its steps end before `step`."""
    step: int
    """Index of the next step."""
    key_index: int | None
    """Which of the keys matched; None if a tool call's id or an interaction did."""
    fork: bool
    """Another request already goes on from here: begin a new trajectory with this one as parent."""


class Header(Trajectory):
    """A trajectory without steps, interactions and feedback, for lists."""

    step_count: int = 0
    sampled_tokens: int = 0
    """Tokens of sampled steps, copied prefixes included."""
    prompt_tokens: int = 0
    """Tokens of all other steps."""
    error_classes: tuple[str, ...] = ()
    """Problems in it: `refusal`, `invalid_action`, `repetition`, `call_error`, `invented_name`."""


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a search."""

    headers: list[Header]
    """Newest first. Fewer than requested if few of the trajectories looked at match."""
    end: str | None
    """Where the next page begins (after this id); None if nothing is left to look at."""


@dataclass(frozen=True, slots=True)
class Family:
    """A trajectory, its ancestors, and all their forks."""

    members: list[Header]
    """Without tools and metadata. A parent comes before its forks."""
    complete: bool


@dataclass(frozen=True, slots=True)
class Written:
    """A step in the order in which the log received it."""

    place: int
    """Increases with every step."""
    trajectory_id: str
    number: int
    step: Step


class Stats(Frozen):
    """Counts over the log."""

    trajectories: int
    interactions: int
    steps: int
    sampled_tokens: int
    prompt_tokens: int
    rewarded: int
    mean_reward: float | None
    outcomes: dict[str, int]
    sources: dict[str, int]
    models: dict[str, int]
    error_classes: dict[str, int]


class ModelRecord(Frozen):
    """A model's recent performance, in the trajectories of one owner or of all."""

    trajectories: int
    """How many of its newest trajectories were looked at."""
    rewarded: int
    mean_reward: float | None
    turns: int
    """Sampled turns with a duration."""
    turn_seconds_median: float | None
    turn_seconds_p90: float | None
    """Nine of ten turns took less."""
    tokens_per_second: float | None
    """Of a single turn, independent of others that ran at the same time."""


class OwnerUse(Frozen):
    """Totals of an owner's rows in the log."""

    trajectories: int
    sampled_tokens: int
    prompt_tokens: int
    last_used: float
    """Unix seconds when the newest trajectory began."""
