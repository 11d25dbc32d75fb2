"""Requests that must have one effect, however often they are sent.

An answer is kept for a day, to be given again. Where no text may be kept (`store: false`,
`log: metadata`) and where it was deleted, only that the request was answered is known: then asking
again is a conflict. What is older goes when the next request with a key comes or the log is opened.

What is being answered holds a lease: in this process by a clock that nobody sets, and in the row
for other processes. There a lease that ends later than any can is from before a clock was set back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, tuple_, update

from agentlm.errors import ConflictError
from agentlm.store.tables import idempotency as table
from agentlm.store.tables import interactions
from agentlm.store.write.writer import Writer

KEPT_S = 24 * 3600.0
"""How long an answer can be asked for again."""
_ASK_AGAIN_S = 1.0
"""What a client is told to wait while its request is being answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    status: int
    """HTTP status."""
    body: str | None
    """None: it is not to be kept."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer, and the request that it is kept for."""

    owner: str
    key: str
    """The client's."""
    answer: Answer
    created: float
    """When the request came, as its interactions say: its answer is deleted with them."""


class Requests:
    """The requests of a store that came with an `Idempotency-Key`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._leases: dict[tuple[str, str], float] = {}
        """Of requests that this process answers: when they end, by the monotonic clock."""

    async def begin(
        self, owner: str, key: str, digest: str, *, lease_s: float = 900.0
    ) -> Answer | None:
        """None: answer it, then `end` or `abandon`. Else the answer that was given already.

        Of concurrent requests one is told to go on. Raises ConflictError while that one is being
        answered (until its lease ends: the server may have died), for a key that was used with
        another request, and if the answer was not kept.
        """
        row = {"owner": owner, "request_key": key, "digest": digest}
        now = time.monotonic()
        self._leases = {held: until for held, until in self._leases.items() if until > now}
        ours = (owner, key) in self._leases
        answer = await self._writer.run(lambda db: _begin(db, row, lease_s, held=ours))
        if answer is None:
            self._leases[owner, key] = now + lease_s
        return answer

    async def end(self, kept: KeptAnswer) -> None:
        """Keep the answer for a day."""
        await self._writer.run(lambda db: keep(db, kept))

    async def abandon(self, owner: str, key: str) -> None:
        """Let it be tried again, unless its answer is kept: that may just not have arrived."""
        self._leases.pop((owner, key), None)
        change = delete(table).where(_asked(owner, key), table.c.status.is_(None))
        await self._writer.run(lambda db: db.execute(change))


def keep(db: Connection, kept: KeptAnswer) -> None:
    """Keep an answer, in the writer's transaction."""
    given = {
        "status": kept.answer.status,
        "body": kept.answer.body,
        "created": kept.created,
    }
    db.execute(update(table).where(_asked(kept.owner, kept.key)).values(given))


def forget(db: Connection, which: ColumnElement[bool]) -> None:
    """Drop the answers that some interactions were; that they were given stays known."""
    told = select(interactions.c.owner, interactions.c.created).where(which)
    gone = tuple_(table.c.owner, table.c.created).in_(told)
    db.execute(update(table).where(gone).values(body=None))


def forget_old(db: Connection) -> None:
    """Drop what was kept long enough."""
    db.execute(delete(table).where(table.c.created < time.time() - KEPT_S))


def _asked(owner: str, key: str) -> ColumnElement[bool]:
    return and_(table.c.owner == owner, table.c.request_key == key)


def _begin(db: Connection, row: dict[str, str], lease_s: float, *, held: bool) -> Answer | None:
    now = time.time()
    forget_old(db)
    asked = _asked(row["owner"], row["request_key"])
    known = db.execute(select(table).where(asked).with_for_update()).one_or_none()
    if known is None:
        new = {"created": now, "lease_until": now + lease_s, "status": None, "body": None}
        db.execute(insert(table), row | new)
        return None
    if known.digest != row["digest"]:
        raise ConflictError(
            "this Idempotency-Key was used with another request", code="idempotency_key_reused"
        )
    if known.status is not None and known.body is None:
        raise ConflictError(
            "the request with this Idempotency-Key was answered, and its answer is not kept",
            code="answer_not_kept",
        )
    if known.status is not None:
        return Answer(known.status, known.body)
    if held or now < known.lease_until <= now + lease_s:
        raise ConflictError(
            "the request with this Idempotency-Key is being answered",
            code="request_in_progress",
            retry_after_s=_ASK_AGAIN_S,
        )
    db.execute(update(table).where(asked).values(lease_until=now + lease_s))
    return None
