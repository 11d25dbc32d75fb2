"""Stored completions: answers that a client can list, delete, and change the metadata of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    select,
    tuple_,
    update,
)

from agentlm.errors import NotFoundError
from agentlm.store.conversations import note_deletion
from agentlm.store.database import ReadAccess
from agentlm.store.idempotency import forget
from agentlm.store.rows import metadata_json, parse_interaction
from agentlm.store.tables import completion_tags, continuations, interactions, steps, trajectories
from agentlm.store.write.changes import forget_feedback
from agentlm.store.write.stored import Stored, count_tokens, find, insert_completion_tags
from agentlm.store.write.writer import Writer
from agentlm.trajectory import Interaction

_i, _t, _s = interactions.c, trajectories.c, steps.c


@dataclass(frozen=True, slots=True)
class Completion:
    id: str
    model: str
    choices: tuple[Interaction, ...]
    """In order. All have the same messages and metadata."""


class Completions:
    def __init__(self, writer: Writer, reading: ReadAccess) -> None:
        self._writer = writer
        self._reading = reading

    def page(
        self,
        owner: str | None,
        *,
        limit: int = 20,
        after: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        newest_first: bool = False,
    ) -> tuple[list[Completion], bool]:
        """Completions in the order of their creation, and whether there are more.

        `after` is the last id seen. A completion must have all of the `metadata` entries.
        """
        where = [*_listed(owner), *(_tagged(*entry) for entry in (metadata or {}).items())]
        if model is not None:
            where.append(_t.model == model)
        with self._reading() as db:
            if after is not None:
                where.append(_beyond(db, after, owner, newest_first=newest_first))
            return _page(db, where, limit, newest_first=newest_first)

    def get(self, completion_id: str, owner: str | None) -> Completion | None:
        with self._reading() as db:
            matches = _whole(db, [completion_id], owner)
        return matches[0] if matches else None

    async def update(
        self, completion_id: str, owner: str | None, metadata: Mapping[str, str]
    ) -> Completion:
        """Replace its metadata. Raises NotFoundError."""
        return await self._writer.run(lambda db: _update(db, completion_id, owner, metadata))

    async def delete(self, completion_id: str, owner: str | None, *, listed: bool = True) -> bool:
        """Delete it, with every step that no other completion of its trajectory needs.

        With `listed=False` it may be any of the owner's completions, also one that the client did
        not store.

        The sequence of a later completion begins with the earlier ones, and its client sent those
        again: so this deletes the end of a trajectory, or all of it. Returns False if there is no
        such completion.
        """
        mine = _listed(owner) if listed else _owned(owner)
        return await self._writer.run(lambda db: _delete(db, completion_id, mine))


def _listed(owner: str | None) -> list[ColumnElement[bool]]:
    return [_i.stored, *_owned(owner)]


def _owned(owner: str | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [_i.owner == owner]


def _tagged(name: str, value: str) -> ColumnElement[bool]:
    tag = completion_tags.c
    return exists().where(tag.interaction == _i.key, tag.name == name, tag.value == value)


def _beyond(
    db: Connection, completion_id: str, owner: str | None, *, newest_first: bool
) -> ColumnElement[bool]:
    last = select(_i.created).where(*_listed(owner), _i.completion_id == completion_id)
    created = db.scalar(last.limit(1))
    if created is None:
        raise NotFoundError(f"there is no stored completion {completion_id}", param="after")
    place, reached = tuple_(_i.created, _i.completion_id), tuple_(created, completion_id)
    return place < reached if newest_first else place > reached


def _page(
    db: Connection, where: Sequence[ColumnElement[bool]], limit: int, *, newest_first: bool
) -> tuple[list[Completion], bool]:
    order = [_i.created, _i.completion_id]
    query = select(_i.completion_id).join(trajectories).where(_i.choice == 0, *where)
    ordered = query.order_by(*(column.desc() if newest_first else column for column in order))
    ids = list(db.scalars(ordered.limit(limit + 1)))
    by_id = {completion.id: completion for completion in _whole(db, ids[:limit], None)}
    return [by_id[one] for one in ids[:limit]], len(ids) > limit


def _whole(db: Connection, ids: Sequence[str], owner: str | None) -> list[Completion]:
    query = select(interactions, _t.id, _t.model).join(trajectories)
    mine = query.where(*_listed(owner), _i.completion_id.in_(ids))
    rows = db.execute(mine.order_by(_i.completion_id, _i.choice)).mappings()
    groups = [list(group) for _, group in groupby(rows, key=itemgetter("completion_id"))]
    return [
        Completion(rows[0]["completion_id"], rows[0]["model"], tuple(map(parse_interaction, rows)))
        for rows in groups
    ]


def _update(
    db: Connection, completion_id: str, owner: str | None, metadata: Mapping[str, str]
) -> Completion:
    mine = [*_listed(owner), _i.completion_id == completion_id]
    keys = list(db.scalars(select(_i.key).where(*mine)))
    if not keys:
        raise NotFoundError(f"there is no stored completion {completion_id}")
    changed = update(interactions).where(_i.key.in_(keys))
    db.execute(changed.values(metadata=metadata_json(metadata)))
    db.execute(delete(completion_tags).where(completion_tags.c.interaction.in_(keys)))
    for key in keys:
        insert_completion_tags(db, key, metadata)
    return _whole(db, [completion_id], owner)[0]


def _delete(db: Connection, completion_id: str, where: Sequence[ColumnElement[bool]]) -> bool:
    mine = and_(*where, _i.completion_id == completion_id)
    ids = list(db.scalars(select(_t.id).join(interactions).where(mine).distinct()))
    forget(db, mine)
    note_deletion(db, mine)
    db.execute(delete(interactions).where(mine))
    for one in ids:
        if (stored := find(db, one)) is not None:
            forget_feedback(db, stored, completion_id)
            _cut(db, stored)
    return bool(ids)


def _cut(db: Connection, stored: Stored) -> None:
    """Drop the steps of a trajectory after its last interaction."""
    this = _t.key == stored.key
    end = db.scalar(select(func.max(_i.end_step)).where(_i.trajectory == stored.key))
    if end is None:
        db.execute(delete(trajectories).where(this))
        return
    c = continuations.c
    db.execute(delete(steps).where(_s.trajectory == stored.key, _s.number >= end))
    db.execute(delete(continuations).where(c.trajectory == stored.key, c.step > end))
    sampled, prompt = count_tokens(db, stored.key, end)
    kept = {"step_count": end, "sampled_tokens": sampled, "prompt_tokens": prompt}
    db.execute(update(trajectories).where(this).values(kept))
