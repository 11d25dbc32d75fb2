"""Access: API keys, requests that must not have two effects, and stored completions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables and the columns."""
    _store_completions()
    op.create_table(
        "api_key",
        sa.Column("name", sa.Text, nullable=False, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("revoked", sa.Double),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "idempotency",
        sa.Column("owner", sa.Text, nullable=False, primary_key=True),
        sa.Column("request_key", sa.Text, nullable=False, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("body", sa.Text),
    )
    op.create_index("idempotency_by_created", "idempotency", ["created"])


def _store_completions() -> None:
    """What was answered before was not asked to be listed."""
    stored = sa.Column("stored", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("interaction", stored)
    op.add_column(
        "interaction", sa.Column("metadata", sa.Text, nullable=False, server_default="{}")
    )
    columns = ["owner", "stored", "created", "completion_id"]
    op.create_index("interaction_by_owner", "interaction", columns)
    cascade = sa.ForeignKey("interaction.key", ondelete="CASCADE")
    op.create_table(
        "completion_tag",
        sa.Column("interaction", KEY, cascade, primary_key=True, nullable=False),
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_index("completion_tag_by_value", "completion_tag", ["name", "value"])
