"""Conversations that have a name: their items, and the answer that they go on from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables; nothing had a name before."""
    op.create_table(
        "conversation",
        sa.Column("key", KEY, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("last", KEY, sa.ForeignKey("interaction.key", ondelete="SET NULL")),
        sa.Column("edited", sa.Boolean, nullable=False),
        sa.Column("lease_until", sa.Double),
        sa.Column("metadata", sa.Text, nullable=False),
    )
    op.create_index("conversation_by_last", "conversation", ["last"])
    op.create_table(
        "conversation_item",
        sa.Column("key", KEY, primary_key=True, autoincrement=True),
        sa.Column(
            "conversation",
            KEY,
            sa.ForeignKey("conversation.key", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("interaction", KEY, sa.ForeignKey("interaction.key", ondelete="CASCADE")),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("conversation", "id"),
    )
    op.create_index("conversation_item_by_interaction", "conversation_item", ["interaction"])
