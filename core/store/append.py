"""Adding an entry to the log, inside the writer's transaction."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Connection, Row, and_, case, delete, func, insert, literal, select, update

from agentlm.errors import ConflictError, NotFoundError
from agentlm.store.contract import Entry
from agentlm.store.redaction import audit_header, audit_interaction, audit_step
from agentlm.store.rows import (
    answer_columns,
    header_row,
    interaction_row,
    metadata_json,
    sampled_and_prompt,
    step_row,
    tag_rows,
    token_count,
)
from agentlm.store.tables import continuations, interactions, steps, tags, trajectories
from agentlm.trajectory import Interaction, Origin, Outcome, Trajectory

Stored = Row[*tuple[Any, ...]]
"""What a write must know of a trajectory that is there."""


def append(db: Connection, entry: Entry) -> None:
    """Add an entry. Raises ConflictError unless it goes on exactly where the log ends."""
    header = entry.trajectory if entry.content else audit_header(entry.trajectory)
    stored = find(db, header.id)
    key = _begin(db, entry, header) if stored is None else _extend(db, entry, header, stored)
    _insert_steps(db, entry, key)
    if entry.interaction is not None:
        _put_interaction(db, entry.interaction, key, content=entry.content)
    if entry.content:
        _index(db, entry, key)


def call_key(tool_call_id: str) -> str:
    """The continuation key of a tool call that waits for its result."""
    return f"call:{tool_call_id}"


def find(db: Connection, trajectory_id: str) -> Stored | None:
    """A stored trajectory, locked until the transaction ends."""
    t = trajectories.c
    columns = (t.key, t.owner, t.outcome, t.step_count, t.content, t.scored, t.metadata)
    return db.execute(select(*columns).where(t.id == trajectory_id).with_for_update()).one_or_none()


def merge_metadata(db: Connection, stored: Stored, added: Mapping[str, Any]) -> None:
    """Set entries of a trajectory's metadata; entries that are not named stay."""
    merged = from_json(stored.metadata) | added
    changed = metadata_json(merged)
    if changed == stored.metadata:
        return
    key = trajectories.c.key == stored.key
    db.execute(update(trajectories).where(key).values(metadata=changed))
    db.execute(delete(tags).where(tags.c.trajectory == stored.key))
    _tag(db, stored.key, merged)


def _begin(db: Connection, entry: Entry, header: Trajectory) -> int:
    """Insert the trajectory, with a copy of its parent's first steps if it is a fork."""
    parent = None if header.parent_id is None else _parent(db, entry)
    _check_place(entry, (header.parent_step or 0) if parent is not None else 0)
    sampled, prompt = sampled_and_prompt(entry.steps)
    row = header_row(header) | {
        "lease_until": _lease(entry),
        "scored": False,
        "error_classes": "",
        "content": entry.content,
        "step_count": entry.first_step + len(entry.steps),
        "claimed_step": 0,
        "sampled_tokens": sampled,
        "prompt_tokens": prompt,
    }
    key: int = db.execute(insert(trajectories).returning(trajectories.c.key), row).scalar_one()
    if parent is not None:
        _copy_steps(db, parent, key, entry.first_step)
    _tag(db, key, header.metadata)
    return key


def _parent(db: Connection, entry: Entry) -> int:
    header = entry.trajectory
    parent = find(db, header.parent_id or "")
    if parent is None or parent.owner != header.owner:
        raise NotFoundError(f"there is no trajectory {header.parent_id} to fork from")
    if not 0 < (header.parent_step or 0) <= parent.step_count:
        raise ConflictError(
            f"trajectory {header.parent_id} has {parent.step_count} steps; "
            f"it can't be forked at {header.parent_step}"
        )
    _check_content(entry, parent)
    return int(parent.key)


def _copy_steps(db: Connection, parent: int, child: int, count: int) -> None:
    """Copy inside the database, and count the copied tokens."""
    columns = [column for column in steps.c if column.name != "trajectory"]
    prefix = and_(steps.c.trajectory == parent, steps.c.number < count)
    names = ["trajectory", *(column.name for column in columns)]
    source = select(literal(child), *columns).where(prefix)
    db.execute(insert(steps).from_select(names, source))
    sampled = case((steps.c.origin == Origin.SAMPLED.value, steps.c.token_count), else_=0)
    totals = select(func.sum(sampled), func.sum(steps.c.token_count)).where(prefix)
    copied, total = map(int, db.execute(totals).one())
    _count(db, child, copied, total - copied)


def _extend(db: Connection, entry: Entry, header: Trajectory, stored: Stored) -> int:
    """Update the header of a trajectory that is there."""
    if stored.owner != header.owner:
        raise ConflictError(f"trajectory {header.id} belongs to another owner")
    _check_place(entry, stored.step_count)
    _check_content(entry, stored)
    _count(
        db,
        stored.key,
        *sampled_and_prompt(entry.steps),
        step_count=entry.first_step + len(entry.steps),
        outcome=header.outcome.value,
        lease_until=_lease(entry),
    )
    if header.metadata:
        merge_metadata(db, stored, header.metadata)
    return int(stored.key)


def _count(db: Connection, key: int, sampled: int, prompt: int, **changed: Any) -> None:
    t = trajectories.c
    changed["sampled_tokens"] = t.sampled_tokens + sampled
    changed["prompt_tokens"] = t.prompt_tokens + prompt
    db.execute(update(trajectories).where(t.key == key).values(changed))


def _check_place(entry: Entry, step_count: int) -> None:
    if entry.first_step != step_count:
        raise ConflictError(
            f"trajectory {entry.trajectory.id} has {step_count} steps in the log; "
            f"an entry can't begin at {entry.first_step}"
        )


def _check_content(entry: Entry, stored: Stored) -> None:
    if bool(stored.content) != entry.content:
        raise ConflictError(
            f"trajectory {entry.trajectory.id} can't be kept partly with and partly without content"
        )


def _lease(entry: Entry) -> float | None:
    running = entry.trajectory.outcome is Outcome.RUNNING
    return time.time() + entry.lease_s if running else None


def _tag(db: Connection, key: int, metadata: Mapping[str, Any]) -> None:
    if rows := tag_rows(key, metadata):
        db.execute(insert(tags), rows)


def _insert_steps(db: Connection, entry: Entry, key: int) -> None:
    rows = [
        step_row(key, number, step if entry.content else audit_step(step), token_count(step))
        for number, step in enumerate(entry.steps, entry.first_step)
    ]
    if rows:
        db.execute(insert(steps), rows)


def _put_interaction(db: Connection, told: Interaction, key: int, *, content: bool) -> None:
    interaction = told if content else audit_interaction(told)
    i = interactions.c
    same = and_(
        i.completion_id == interaction.completion_id,
        i.choice == interaction.choice,
        i.trajectory == key,
    )
    answered = update(interactions).where(same).values(answer_columns(interaction))
    if db.execute(answered).rowcount == 0:
        db.execute(insert(interactions), interaction_row(key, interaction))


def _index(db: Connection, entry: Entry, key: int) -> None:
    """Let later requests find this end of the conversation."""
    conversations = [*entry.keys, *map(call_key, entry.tool_call_ids)]
    step = entry.first_step + len(entry.steps)
    rows = [
        {
            "trajectory": key,
            "owner": entry.trajectory.owner,
            "conversation": conversation,
            "step": step,
        }
        for conversation in conversations
    ]
    if rows:
        db.execute(insert(continuations), rows)
