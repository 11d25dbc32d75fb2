"""Named conversations: a chain of trajectories, each continuing or forking the last.

A conversation is a list of items, in the format of its wire. What an answer adds is committed with
the answer and deleted with it. The next request goes on from the last answer. If an item before the
end was deleted, the request goes on from what is left, in a new trajectory whose parent is the
last.

A conversation is busy while a request goes on from it. The request holds a lease and renews it, so
that the conversation becomes free soon after a crash of the server.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from agentlm.errors import ConflictError, NotFoundError
from agentlm.store.contract import Addition
from agentlm.store.database import ReadAccess
from agentlm.store.rows import metadata_json
from agentlm.store.tables import conversation_items, conversations, interactions
from agentlm.store.write.writer import Writer

HELD_S = 15.0
"""How long a conversation stays busy if its lease is not renewed."""
_ASK_AGAIN_S = 1.0
"""How long a client should wait while it is busy."""
_c, _n, _i = conversations.c, conversation_items.c, interactions.c


@dataclass(frozen=True, slots=True)
class NamedConversation:
    """The header of a conversation."""

    id: str
    created: float
    metadata: dict[str, str]
    last: str | None
    """The completion that it goes on from; None: nothing was answered, or the answer was
    deleted."""
    edited: bool
    """An item that belongs to the last answer or to its input was deleted."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a conversation."""

    body: dict[str, Any]
    answered: bool
    """It belongs to an answer or to an answer's input."""


class Conversations:
    def __init__(self, writer: Writer, reading: ReadAccess) -> None:
        self._writer = writer
        self._reading = reading

    async def create(
        self, owner: str, metadata: Mapping[str, str], items: Sequence[Mapping[str, Any]]
    ) -> NamedConversation:
        row = {
            "id": f"conv_{uuid.uuid4().hex}",
            "created": time.time(),
            "owner": owner,
            "last": None,
            "edited": False,
            "lease_until": None,
            "metadata": metadata_json(metadata),
        }

        def begin(db: Connection) -> NamedConversation:
            key = db.execute(insert(conversations).returning(_c.key), row).scalar_one()
            _insert(db, key, items, None)
            return _header(db, _find(db, str(row["id"]), owner))

        return await self._writer.run(begin)

    def get(self, identity: str, owner: str | None) -> NamedConversation:
        """Raises NotFoundError."""
        with self._reading() as db:
            return _header(db, _look(db, identity, owner))

    def items(self, identity: str, owner: str | None) -> list[Item]:
        """All items, oldest first. Raises NotFoundError."""
        with self._reading() as db:
            return _items(db, _look(db, identity, owner).key)

    async def update(
        self, identity: str, owner: str | None, metadata: Mapping[str, str]
    ) -> NamedConversation:
        """Replace its metadata. Raises NotFoundError."""

        def change(db: Connection) -> NamedConversation:
            key = _find(db, identity, owner).key
            changed = update(conversations).where(_c.key == key)
            db.execute(changed.values(metadata=metadata_json(metadata)))
            return _header(db, _find(db, identity, owner))

        return await self._writer.run(change)

    async def delete(self, identity: str, owner: str | None) -> None:
        """Delete its name and items. Its trajectories stay. Raises NotFoundError."""

        def remove(db: Connection) -> None:
            row = _free(_find(db, identity, owner))
            db.execute(delete(conversations).where(_c.key == row.key))

        await self._writer.run(remove)

    async def add(
        self, identity: str, owner: str | None, items: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add items at its end. Raises NotFoundError, or ConflictError if it is busy."""

        def extend(db: Connection) -> None:
            _insert(db, _free(_find(db, identity, owner)).key, items, None)

        await self._writer.run(extend)

    async def remove(self, identity: str, owner: str | None, item_id: str) -> NamedConversation:
        """Delete one item. Raises NotFoundError, or ConflictError if it is busy."""

        def cut(db: Connection) -> NamedConversation:
            key = _free(_find(db, identity, owner)).key
            _remove(db, key, item_id)
            return _header(db, _find(db, identity, owner))

        return await self._writer.run(cut)

    async def claim(self, identity: str, owner: str) -> tuple[NamedConversation, list[Item]]:
        """Take the right to go on from it. It is busy until the request ends or gives up.

        Raises NotFoundError, or ConflictError if it is busy.
        """

        def take(db: Connection) -> tuple[NamedConversation, list[Item]]:
            row = _free(_find(db, identity, owner))
            _hold(db, row.key, time.time() + HELD_S)
            return _header(db, row), _items(db, row.key)

        return await self._writer.run(take)

    async def renew(self, identity: str) -> None:
        """Extend the lease of the request that goes on from it."""

        def hold(db: Connection) -> None:
            held = update(conversations).where(_c.id == identity, _c.lease_until.is_not(None))
            db.execute(held.values(lease_until=time.time() + HELD_S))

        await self._writer.run(hold)

    async def give_up(self, identity: str) -> None:
        """End the lease without an answer: the conversation is free again."""
        free = update(conversations).where(_c.id == identity).values(lease_until=None)
        await self._writer.run(lambda db: db.execute(free))


def extend(db: Connection, addition: Addition, completion_id: str) -> None:
    """Add a request's items, in the writer's transaction. A deleted conversation stays deleted."""
    key = db.scalar(select(_c.key).where(_c.id == addition.conversation_id).with_for_update())
    if key is None:
        return
    _hold(db, key, None)
    if addition.items:
        answer = db.scalar(select(_i.key).where(_i.completion_id == completion_id))
        _insert(db, key, addition.items, answer)
        # Items that were added earlier were input to this answer too, and are deleted with it.
        pending = update(conversation_items).where(_n.conversation == key, _n.interaction.is_(None))
        db.execute(pending.values(interaction=answer))
        changed = update(conversations).where(_c.key == key)
        db.execute(changed.values(last=answer, edited=False))


def note_deletion(db: Connection, which: ColumnElement[bool]) -> None:
    """Mark conversations whose interactions are about to be deleted: they are no longer the
    same."""
    gone = select(_n.conversation).join(interactions).where(which)
    db.execute(update(conversations).where(_c.key.in_(gone)).values(edited=True))


def _find(db: Connection, identity: str, owner: str | None) -> Row[Any]:
    """The conversation's row, locked until the transaction ends."""
    return _look(db, identity, owner, lock=True)


def _look(db: Connection, identity: str, owner: str | None, *, lock: bool = False) -> Row[Any]:
    mine = [_c.id == identity] + ([] if owner is None else [_c.owner == owner])
    query = select(conversations).where(*mine)
    row = db.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFoundError(f"no conversation {identity[:128]!r}", param="conversation")
    return row


def _free(row: Row[Any]) -> Row[Any]:
    now = time.time()
    # No lease ends that late, except one from before the clock was set back.
    if row.lease_until is not None and now < row.lease_until <= now + HELD_S:
        raise ConflictError(
            f"another request is going on from the conversation {row.id!r}",
            param="conversation",
            code="conversation_locked",
            retry_after_s=_ASK_AGAIN_S,
        )
    return row


def _hold(db: Connection, key: int, until: float | None) -> None:
    db.execute(update(conversations).where(_c.key == key).values(lease_until=until))


def _header(db: Connection, row: Row[Any]) -> NamedConversation:
    last = db.scalar(select(_i.completion_id).where(_i.key == row.last))
    return NamedConversation(row.id, row.created, from_json(row.metadata), last, bool(row.edited))


def _items(db: Connection, key: int) -> list[Item]:
    query = select(_n.body, _n.interaction).where(_n.conversation == key).order_by(_n.key)
    return [Item(from_json(row.body), row.interaction is not None) for row in db.execute(query)]


def _insert(
    db: Connection, key: int, items: Sequence[Mapping[str, Any]], answer: int | None
) -> None:
    rows = [
        {
            "conversation": key,
            "interaction": answer,
            "id": item["id"],
            "body": to_json(item).decode(),
        }
        for item in items
    ]
    if rows:
        db.execute(insert(conversation_items), rows)


def _remove(db: Connection, key: int, item_id: str) -> None:
    mine = [_n.conversation == key, _n.id == item_id]
    row = db.execute(select(_n.key, _n.interaction).where(*mine)).one_or_none()
    if row is None:
        raise NotFoundError(f"no item {item_id[:128]!r}", param="item_id")
    last = select(func.max(_n.key)).where(_n.conversation == key, _n.interaction.is_not(None))
    if row.interaction is not None or row.key < (db.scalar(last) or 0):
        db.execute(update(conversations).where(_c.key == key).values(edited=True))
    db.execute(delete(conversation_items).where(_n.key == row.key))
