"""The audit trail: which tools were called, by whom, and how the calls ended.

Unlike the record of a conversation, it has no text, is kept for every request (also with `store:
false`), and outlives the trajectory.
"""

from __future__ import annotations

import time
from typing import Literal

from pydantic import Field
from pydantic_core import from_json
from sqlalchemy import insert, select

from agentlm.messages import Frozen
from agentlm.store.database import ReadAccess
from agentlm.store.tables import audits
from agentlm.store.write.writer import Writer

Ending = Literal["ok", "failed", "denied", "timeout", "cancelled", "error"]


class AuditRecord(Frozen):
    """One call of one of the server's tools."""

    owner: str
    trajectory_id: str
    call_id: str
    tool: str
    """The name that the model wrote."""
    verdict: Ending
    """`failed`: the model read what was wrong. `denied`: policy, a person or the run's limits kept
    the call from running. `error`: the tool itself broke."""
    arguments_digest: str
    """SHA-256 of the arguments as written: equal calls can be recognised without keeping the
    text."""
    output_chars: int = 0
    seconds: float = 0.0
    created: float = Field(default_factory=time.time)
    """Unix seconds, when the call began."""


class AuditTrail:
    def __init__(self, writer: Writer, reading: ReadAccess) -> None:
        self._writer = writer
        self._reading = reading

    async def add(self, record: AuditRecord) -> None:
        """Durable on return."""
        row = {
            "owner": record.owner,
            "trajectory_id": record.trajectory_id,
            "body": record.model_dump_json(exclude={"owner", "trajectory_id"}),
        }
        await self._writer.run(lambda db: db.execute(insert(audits), row))

    def page(
        self, owner: str | None, *, limit: int = 20, after: int | None = None
    ) -> tuple[list[tuple[int, AuditRecord]], bool]:
        """Numbered records, newest first, and whether there are more. `after` is the last one
        seen."""
        query = select(audits).order_by(audits.c.key.desc()).limit(limit + 1)
        if owner is not None:
            query = query.where(audits.c.owner == owner)
        if after is not None:
            query = query.where(audits.c.key < after)
        with self._reading() as db:
            rows = db.execute(query).all()
        records = [
            (
                row.key,
                AuditRecord(
                    owner=row.owner, trajectory_id=row.trajectory_id, **from_json(row.body)
                ),
            )
            for row in rows[:limit]
        ]
        return records, len(rows) > limit
