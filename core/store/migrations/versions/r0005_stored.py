"""Stored completions: an index of those alone, in place of one of every answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Replace the index; some logs of schema 0002 were made with the new one."""
    op.drop_index("interaction_by_owner", "interaction", if_exists=True)
    op.create_index(
        "stored_completion",
        "interaction",
        ["owner", "created", "completion_id"],
        sqlite_where=sa.text("stored = 1"),
        postgresql_where=sa.text("stored"),
        if_not_exists=True,
    )
