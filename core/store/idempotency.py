"""Requests that must take effect only once, however often they are sent.

An answer is kept for a day and given again. If its text may not be kept (`store: false`, `log:
metadata`) or was deleted, only the fact is kept that the request was answered; sending it again is
then a conflict. Older answers are deleted when the log is opened, or when the next request with a
key comes.

A request that is being answered holds a lease: by the monotonic clock in this process, and by wall
time in the row for other processes. In the row, a lease that ends too late is from before the clock
was set back.
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
"""How long an answer is kept."""
_ASK_AGAIN_S = 1.0
"""How long a client should wait while its request is being answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    """HTTP status."""
    body: str | None
    """None: the text must not be kept."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer, and the request that it belongs to."""

    owner: str
    key: str
    """The client's key."""
    answer: Answer
    created: float
    """When the request came; its interactions have the same time. The answer is deleted with
    them."""


class Requests:
    """The requests with an `Idempotency-Key`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._leases: dict[tuple[str, str], float] = {}
        """When the lease of each request in this process ends, by the monotonic clock."""

    async def begin(
        self, owner: str, key: str, digest: str, *, lease_s: float = 900.0
    ) -> Answer | None:
        """None: answer the request, then call `end` or `abandon`. Else the earlier answer.

        Of concurrent requests, one may go on. Raises ConflictError while it is being answered
        (until its lease ends, since the server may have died), if the key was used with another
        request, and if the answer was not kept.
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
        """Allow another attempt, unless an answer is kept: the client may just not have received
        it."""
        self._leases.pop((owner, key), None)
        change = delete(table).where(_is_request(owner, key), table.c.status.is_(None))
        await self._writer.run(lambda db: db.execute(change))


def keep(db: Connection, kept: KeptAnswer) -> None:
    """Keep an answer, in the writer's transaction."""
    values = {
        "status": kept.answer.status,
        "body": kept.answer.body,
        "created": kept.created,
    }
    db.execute(update(table).where(_is_request(kept.owner, kept.key)).values(values))


def forget(db: Connection, which: ColumnElement[bool]) -> None:
    """Drop the answers of these interactions. That they were answered stays known."""
    answered = select(interactions.c.owner, interactions.c.created).where(which)
    gone = tuple_(table.c.owner, table.c.created).in_(answered)
    db.execute(update(table).where(gone).values(body=None))


def forget_old(db: Connection) -> None:
    """Drop expired answers."""
    db.execute(delete(table).where(table.c.created < time.time() - KEPT_S))


def _is_request(owner: str, key: str) -> ColumnElement[bool]:
    return and_(table.c.owner == owner, table.c.request_key == key)


def _begin(db: Connection, row: dict[str, str], lease_s: float, *, held: bool) -> Answer | None:
    now = time.time()
    forget_old(db)
    same_request = _is_request(row["owner"], row["request_key"])
    known = db.execute(select(table).where(same_request).with_for_update()).one_or_none()
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
    db.execute(update(table).where(same_request).values(lease_until=now + lease_s))
    return None
