"""Shared by several writes: finding a stored trajectory, its metadata, its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Connection, Row, bindparam, case, delete, func, select, update

from agentlm.store.rows import metadata_json, tag_rows
from agentlm.store.tables import completion_tags, steps, tags, trajectories
from agentlm.store.write.prepared import Prepared, prepared_insert
from agentlm.trajectory import Origin

Stored = Row[*tuple[Any, ...]]
"""A trajectory's `key, owner, outcome, step_count, content, scored, metadata`."""

_t = trajectories.c
_FIND = Prepared(
    select(_t.key, _t.owner, _t.outcome, _t.step_count, _t.content, _t.scored, _t.metadata)
    .where(_t.id == bindparam("wanted"))
    .with_for_update()
)
_INSERT_TAGS = prepared_insert(tags)
_INSERT_COMPLETION_TAGS = prepared_insert(completion_tags)


def find(db: Connection, trajectory_id: str) -> Stored | None:
    """A stored trajectory, locked until the transaction ends."""
    return _FIND(db, {"wanted": trajectory_id}).one_or_none()


def merge_metadata(db: Connection, stored: Stored, added: Mapping[str, Any]) -> None:
    """Set entries of a trajectory's metadata. Other entries stay."""
    set_metadata(db, stored, from_json(stored.metadata) | added)


def set_metadata(db: Connection, stored: Stored, metadata: Mapping[str, Any]) -> None:
    changed = metadata_json(metadata)
    if changed == stored.metadata:
        return
    db.execute(update(trajectories).where(_t.key == stored.key).values(metadata=changed))
    db.execute(delete(tags).where(tags.c.trajectory == stored.key))
    insert_tags(db, stored.key, metadata)


def insert_tags(db: Connection, key: int, metadata: Mapping[str, Any]) -> None:
    """Insert the rows by which metadata can be filtered."""
    if rows := tag_rows("trajectory", key, metadata):
        _INSERT_TAGS(db, rows)


def insert_completion_tags(db: Connection, key: int, metadata: Mapping[str, str]) -> None:
    """The same for a stored completion's metadata. `key` is its interaction's."""
    if rows := tag_rows("interaction", key, metadata):
        _INSERT_COMPLETION_TAGS(db, rows)


def count_tokens(db: Connection, trajectory: int, until: int) -> tuple[int, int]:
    """The numbers of sampled and other tokens in the first `until` steps."""
    s = steps.c
    sampled = case((s.origin == Origin.SAMPLED.value, s.token_count), else_=0)
    sums = (func.coalesce(func.sum(column), 0) for column in (sampled, s.token_count))
    row = db.execute(select(*sums).where(s.trajectory == trajectory, s.number < until)).one()
    return int(row[0]), int(row[1] - row[0])
