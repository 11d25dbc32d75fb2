"""The tables. A column exists because a query needs it; the rest of a type is JSON.

    trajectory ─┬─ step            one row per step; ids and logprobs are packed arrays
                ├─ interaction     one row per choice of a request
                │    └─ completion_tag   metadata of stored completions, to filter by
                ├─ continuation    key of a conversation → the step where it goes on
                ├─ feedback
                ├─ tag             metadata that is text, to filter by
                └─ trained         cards that were trained on it

    conversation                   a chain of trajectories that has a name
    └─ conversation_item           its items; an answer's items are deleted with the answer

    api_key, idempotency           who may use the server, and what was answered already
    audit                          tool calls; they outlive the trajectory

`key` is an internal integer. Children refer to it, so the random public ids are in one index only.
JSON is in text columns, where a NUL character is escaped: PostgreSQL allows no NUL in text.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlmodel import Field, SQLModel

METADATA = MetaData()

Key = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only if the type is exactly INTEGER."""


def _key() -> Any:
    return Field(default=None, sa_column=Column(Key, primary_key=True, autoincrement=True))


def _trajectory(*, primary_key: bool = False) -> Any:
    cascade = ForeignKey("trajectory.key", ondelete="CASCADE")
    return Field(
        sa_column=Column("trajectory", Key, cascade, primary_key=primary_key, nullable=False)
    )


def _text(name: str | None = None, *, nullable: bool = False, **options: Any) -> Any:
    return Field(default=None, sa_column=Column(name, Text, nullable=nullable, **options))


def _seconds(*, nullable: bool = False) -> Any:
    return Field(default=None, sa_column=Column(Double, nullable=nullable))


class Row(SQLModel):
    """Root of the tables. They have their own metadata, apart from other users of SQLModel."""

    metadata: ClassVar[MetaData] = METADATA


_FILTERED = ("source", "environment", "outcome", "lease_until", "reward")
"""Lists are filtered by these: an index that holds them tells what does not match without reading
the row, which is long."""


class TrajectoryRow(Row, table=True):
    """Header of a trajectory."""

    __tablename__ = "trajectory"
    __table_args__ = (
        Index("trajectory_newest", "created", "id", *_FILTERED),
        Index("trajectory_newest_by_owner", "owner", "created", "id", *_FILTERED),
        Index("trajectory_newest_by_model", "model", "created", "id", *_FILTERED),
        Index("trajectory_newest_by_both", "owner", "model", "created", "id", *_FILTERED),
        Index(
            "trajectory_by_parent",
            "parent_id",
            sqlite_where=text("parent_id IS NOT NULL"),
            postgresql_where=text("parent_id IS NOT NULL"),
        ),
    )

    key: int | None = _key()
    id: str = _text(unique=True)
    version: int
    created: float = _seconds()
    owner: str = _text()
    source: str = _text()
    model: str = _text()
    environment: str | None = _text(nullable=True)
    task_id: str | None = _text(nullable=True)
    outcome: str = _text()
    lease_until: float | None = _seconds(nullable=True)
    """While `outcome` is running: when the lease ends without a further entry."""
    reward: float | None = _seconds(nullable=True)
    scored: bool
    """The reward is the environment's own. Feedback does not change it."""
    corrected: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    """Some feedback has a correction."""
    error_classes: str = _text()
    """Comma-separated."""
    parent_id: str | None = _text(nullable=True)
    parent_step: int | None = None
    may_train: bool
    content: bool
    step_count: int
    claimed_step: int
    """The last step from which a continuation was claimed; 0: none."""
    sampled_tokens: int
    prompt_tokens: int
    tools: str = _text()
    """JSON. It is last, with `metadata`, so that a scan need not read them."""
    metadata_: str = _text("metadata")
    """JSON."""


class StepRow(Row, table=True):
    """One step. Its place is its number."""

    __tablename__ = "step"
    __table_args__ = (UniqueConstraint("trajectory", "number"),)

    key: int | None = _key()
    """Increases as steps are written, so that new ones can be followed."""
    trajectory: int = _trajectory()
    number: int
    role: str = _text()
    origin: str = _text()
    started: float = _seconds()
    seconds: float = _seconds()
    weights_version: str | None = _text(nullable=True)
    token_count: int
    token_ids: bytes | None = Field(sa_column=Column(LargeBinary))
    """uint32, little-endian."""
    logprobs: bytes | None = Field(sa_column=Column(LargeBinary))
    """float32, little-endian."""
    single_choice: bytes | None = Field(sa_column=Column(LargeBinary))
    """One byte per token, 0 or 1."""
    body: str = _text()
    """JSON of the step's other fields that differ from their defaults."""


class InteractionRow(Row, table=True):
    """One choice of one request."""

    __tablename__ = "interaction"
    __table_args__ = (
        UniqueConstraint("completion_id", "choice"),
        Index("interaction_by_trajectory", "trajectory"),
        Index(
            "stored_completion",
            "owner",
            "created",
            "completion_id",
            sqlite_where=text("stored = 1"),
            postgresql_where=text("stored"),
        ),
    )

    key: int | None = _key()
    trajectory: int = _trajectory()
    completion_id: str = _text()
    choice: int
    owner: str = _text()
    created: float = _seconds()
    first_step: int
    end_step: int
    request: str = _text()
    """`messages`, `sampling` and `echo`, which never change."""
    response: str = _text()
    """`response`, `finish_reason`, `usage` and `delivered`, which are replaced during a run."""
    stored: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    metadata_: str = _text("metadata", server_default="{}")
    """JSON."""


class CompletionTagRow(Row, table=True):
    """A metadata entry of a stored completion."""

    __tablename__ = "completion_tag"
    __table_args__ = (Index("completion_tag_by_value", "name", "value"),)

    interaction: int = Field(
        sa_column=Column(Key, ForeignKey("interaction.key", ondelete="CASCADE"), primary_key=True)
    )
    name: str = _text(primary_key=True)
    value: str = _text()


class ContinuationRow(Row, table=True):
    """A conversation that was answered, by its key or by the id of a call that waits for a
    result."""

    __tablename__ = "continuation"
    __table_args__ = (
        Index("continuation_by_conversation", "owner", "conversation", "key"),
        Index("continuation_by_trajectory", "trajectory"),
    )

    key: int | None = _key()
    trajectory: int = _trajectory()
    owner: str = _text()
    conversation: str = _text()
    """A key as hashed by the server, or `call:` and the id of a tool call."""
    step: int


class FeedbackRow(Row, table=True):
    """One judgement. It never changes; the latest one counts."""

    __tablename__ = "feedback"
    __table_args__ = (Index("feedback_by_trajectory", "trajectory"),)

    key: int | None = _key()
    trajectory: int = _trajectory()
    body: str = _text()


class TagRow(Row, table=True):
    """A metadata entry whose value is text."""

    __tablename__ = "tag"
    __table_args__ = (Index("tag_by_value", "name", "value"),)

    trajectory: int = _trajectory(primary_key=True)
    name: str = _text(primary_key=True)
    value: str = _text()


class TrainedRow(Row, table=True):
    """A trajectory that a card was trained on."""

    __tablename__ = "trained"
    __table_args__ = (Index("trained_by_card", "card"),)

    trajectory: int = _trajectory(primary_key=True)
    card: str = _text(primary_key=True)


class ConversationRow(Row, table=True):
    __tablename__ = "conversation"
    __table_args__ = (Index("conversation_by_last", "last"),)

    key: int | None = _key()
    id: str = _text(unique=True)
    created: float = _seconds()
    owner: str = _text()
    last: int | None = Field(
        sa_column=Column(Key, ForeignKey("interaction.key", ondelete="SET NULL"))
    )
    """The answer that it goes on from."""
    edited: bool
    """An item of the answer's conversation was deleted later."""
    lease_until: float | None = _seconds(nullable=True)
    """While a request goes on from it: when its lease ends."""
    metadata_: str = _text("metadata")
    """JSON."""


class ConversationItemRow(Row, table=True):
    """One item of a conversation. Its place is the order of its key."""

    __tablename__ = "conversation_item"
    __table_args__ = (
        UniqueConstraint("conversation", "id"),
        Index("conversation_item_by_interaction", "interaction"),
    )

    key: int | None = _key()
    conversation: int = Field(
        sa_column=Column(Key, ForeignKey("conversation.key", ondelete="CASCADE"), nullable=False)
    )
    interaction: int | None = Field(
        sa_column=Column(Key, ForeignKey("interaction.key", ondelete="CASCADE"))
    )
    """The answer that it belongs to, or is input of; None: it waits for the next one."""
    id: str = _text()
    body: str = _text()
    """The item as JSON."""


class ApiKeyRow(Row, table=True):
    """A key without its secret."""

    __tablename__ = "api_key"

    name: str = _text(primary_key=True)
    """The owner of everything done with it. A name is never used twice."""
    digest: str = _text(unique=True)
    """SHA-256 of the secret."""
    created: float = _seconds()
    revoked: float | None = _seconds(nullable=True)
    body: str = _text()
    """JSON of what it allows."""


class IdempotencyRow(Row, table=True):
    """A request that must take effect only once, however often it is sent."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("idempotency_by_created", "created"),)

    owner: str = _text(primary_key=True)
    request_key: str = _text(primary_key=True)
    """The client's `Idempotency-Key`."""
    digest: str = _text()
    """Digest of the request: using the key for another request is an error."""
    created: float = _seconds()
    lease_until: float = _seconds()
    """While it is being answered: when its lease ends."""
    status: int | None = None
    """HTTP status of the answer; None while it is being answered."""
    body: str | None = _text(nullable=True)


class AuditRow(Row, table=True):
    """A call of one of the server's tools. It outlives the trajectory."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_by_owner", "owner", "key"),)

    key: int = _key()
    owner: str = _text()
    trajectory_id: str = _text()
    body: str = _text()
    """The tool's name and how the call ended; no arguments, no output."""


trajectories: Table = METADATA.tables["trajectory"]
steps: Table = METADATA.tables["step"]
interactions: Table = METADATA.tables["interaction"]
completion_tags: Table = METADATA.tables["completion_tag"]
continuations: Table = METADATA.tables["continuation"]
feedbacks: Table = METADATA.tables["feedback"]
tags: Table = METADATA.tables["tag"]
trainings: Table = METADATA.tables["trained"]
conversations: Table = METADATA.tables["conversation"]
conversation_items: Table = METADATA.tables["conversation_item"]
api_keys: Table = METADATA.tables["api_key"]
idempotency: Table = METADATA.tables["idempotency"]
audits: Table = METADATA.tables["audit"]
