"""What goes into the store and what comes out, beside the record's own types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentlm.messages import Frozen
from agentlm.store.idempotency import KeptAnswer
from agentlm.trajectory import Interaction, Step, Trajectory


@dataclass(frozen=True, slots=True)
class Addition:
    """What a request that goes on from a conversation adds to it as it ends."""

    conversation_id: str
    items: tuple[Mapping[str, Any], ...] = ()
    """Empty: it was not answered; the conversation stays as it was."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One durable addition to a trajectory: a step of a run, or a whole answered choice."""

    trajectory: Trajectory
    """The header as it now is. Its `steps`, `interactions` and `feedback` are not read; its
    `reward` is kept, as a score, when the trajectory begins, and not read later."""
    first_step: int
    """Index that the first of `steps` gets: the number of steps already stored."""
    steps: tuple[Step, ...]
    interaction: Interaction | None = None
    """Inserted, or its response, range and usage updated if it is there already."""
    keys: tuple[str, ...] = ()
    """Continuation keys of the conversation as it stands after `steps`."""
    tool_call_ids: tuple[str, ...] = ()
    """Calls of client tools that these steps end with; their results continue here."""
    lease_s: float = 900.0
    """How long a `running` trajectory stays so without another entry; then it reads `unknown`."""
    kept: KeptAnswer | None = None
    """What a request with an Idempotency-Key is answered with: kept if, and only if, this is."""
    addition: Addition | None = None
    """What the request leaves in the conversation that it went on from."""
    content: bool = True
    """False keeps counts and audit only (`store: false`, `log: metadata`): no text, no token ids,
    no arguments, no metadata, no continuation. Holds for a whole trajectory and its forks."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where a conversation goes on."""

    trajectory: Trajectory
    """With its steps up to `step`."""
    step: int
    """Index that the next step gets."""
    key_index: int | None
    """Which of the keys asked for was found; None if a tool call's id or an interaction was."""
    fork: bool
    """Another request already goes on from here: begin a new trajectory with this as parent."""


class Header(Trajectory):
    """A trajectory as lists show it: without steps, interactions and feedback."""

    step_count: int = 0
    sampled_tokens: int = 0
    """Tokens of sampled steps, copied prefixes included."""
    prompt_tokens: int = 0
    """All other tokens."""
    error_classes: tuple[str, ...] = ()
    """What went wrong in it: `refusal`, `invalid_action`, `repetition`, `call_error`,
    `invented_name`."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of what was searched for."""

    headers: list[Header]
    """Newest first; fewer than were asked for where little of what was looked at matches."""
    end: str | None
    """What the next page begins after; None if nothing is left to look at."""


@dataclass(frozen=True, slots=True)
class Family:
    """A trajectory, what it forked from, and what forked from any of them."""

    members: list[Header]
    """Without its tools and metadata; a parent before its forks."""
    complete: bool


@dataclass(frozen=True, slots=True)
class Written:
    """A step as it came into the log."""

    place: int
    """Grows with every step."""
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
    """How a model did lately, in an owner's trajectories or in all."""

    trajectories: int
    """So many of its newest were looked at."""
    rewarded: int
    mean_reward: float | None
    turns: int
    """Sampled turns that took time."""
    turn_seconds_median: float | None
    turn_seconds_p90: float | None
    """Nine of ten turns took less."""
    tokens_per_second: float | None
    """Of one turn, whatever ran beside it."""


class OwnerUse(Frozen):
    """What an owner's rows of the log come to."""

    trajectories: int
    sampled_tokens: int
    prompt_tokens: int
    last_used: float
    """Unix seconds when the newest began."""
