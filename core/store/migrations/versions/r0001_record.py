"""The record: trajectories, their steps, interactions, continuations, feedback, provenance."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _trajectory() -> sa.Column[int]:
    cascade = sa.ForeignKey("trajectory.key", ondelete="CASCADE")
    return sa.Column("trajectory", KEY, cascade, nullable=False)


def _key() -> sa.Column[int]:
    return sa.Column("key", KEY, primary_key=True, autoincrement=True)


def upgrade() -> None:
    """Create every table of the first schema."""
    _create_trajectory()
    _create_step()
    _create_interaction()
    _create_continuation()
    op.create_table("feedback", _key(), _trajectory(), sa.Column("body", sa.Text, nullable=False))
    op.create_index("feedback_by_trajectory", "feedback", ["trajectory"])
    op.create_table(
        "tag",
        _trajectory(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("trajectory", "name"),
    )
    op.create_index("tag_by_value", "tag", ["name", "value"])
    op.create_table(
        "trained",
        _trajectory(),
        sa.Column("card", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("trajectory", "card"),
    )
    op.create_index("trained_by_card", "trained", ["card"])


def _create_trajectory() -> None:
    op.create_table(
        "trajectory",
        _key(),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("environment", sa.Text),
        sa.Column("task_id", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("lease_until", sa.Double),
        sa.Column("reward", sa.Double),
        sa.Column("scored", sa.Boolean, nullable=False),
        sa.Column("error_classes", sa.Text, nullable=False),
        sa.Column("parent_id", sa.Text),
        sa.Column("parent_step", sa.Integer),
        sa.Column("may_train", sa.Boolean, nullable=False),
        sa.Column("content", sa.Boolean, nullable=False),
        sa.Column("step_count", sa.Integer, nullable=False),
        sa.Column("claimed_step", sa.Integer, nullable=False),
        sa.Column("sampled_tokens", sa.Integer, nullable=False),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("tools", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
    )
    newest = ["created", "id"]
    op.create_index("trajectory_by_created", "trajectory", newest)
    op.create_index("trajectory_by_owner", "trajectory", ["owner", *newest])
    op.create_index("trajectory_by_model", "trajectory", ["model", *newest])
    op.create_index("trajectory_by_owner_and_model", "trajectory", ["owner", "model", *newest])


def _create_step() -> None:
    op.create_table(
        "step",
        _key(),
        _trajectory(),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("weights_version", sa.Text),
        sa.Column("token_count", sa.Integer, nullable=False),
        sa.Column("token_ids", sa.LargeBinary),
        sa.Column("logprobs", sa.LargeBinary),
        sa.Column("single_choice", sa.LargeBinary),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("trajectory", "number"),
    )


def _create_interaction() -> None:
    op.create_table(
        "interaction",
        _key(),
        _trajectory(),
        sa.Column("completion_id", sa.Text, nullable=False),
        sa.Column("choice", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("first_step", sa.Integer, nullable=False),
        sa.Column("end_step", sa.Integer, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("response", sa.Text, nullable=False),
        sa.UniqueConstraint("completion_id", "choice"),
    )
    op.create_index("interaction_by_trajectory", "interaction", ["trajectory"])


def _create_continuation() -> None:
    op.create_table(
        "continuation",
        _key(),
        _trajectory(),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
    )
    columns = ["owner", "conversation", "key"]
    op.create_index("continuation_by_conversation", "continuation", columns)
    op.create_index("continuation_by_trajectory", "continuation", ["trajectory"])
