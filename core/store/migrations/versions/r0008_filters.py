"""Filters: the indexes that lists read newest first hold what lists are filtered by, too."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

_FILTERED = ["source", "environment", "outcome", "lease_until", "reward"]
_INDEXES = {
    "trajectory_by_created": ("trajectory_newest", []),
    "trajectory_by_owner": ("trajectory_newest_by_owner", ["owner"]),
    "trajectory_by_model": ("trajectory_newest_by_model", ["model"]),
    "trajectory_by_owner_and_model": ("trajectory_newest_by_both", ["owner", "model"]),
}
"""An old index, the new one in its place, and the columns that the new one begins with."""


def upgrade() -> None:
    """Replace the old indexes by wider ones."""
    for before, (after, first) in _INDEXES.items():
        columns = [*first, "created", "id", *_FILTERED]
        op.create_index(after, "trajectory", columns, if_not_exists=True)
        op.drop_index(before, "trajectory", if_exists=True)
