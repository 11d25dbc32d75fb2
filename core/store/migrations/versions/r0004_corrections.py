"""Corrected answers: which trajectories have feedback that says what should have been said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; no feedback had a correction before."""
    corrected = sa.Column("corrected", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("trajectory", corrected)
