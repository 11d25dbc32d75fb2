"""Read-only is the database's own doing, never a reading of SQL.

A guard says how one kind of database is held to that: SQLite by opening the file read-only and an
authorizer that lets nothing pass but reading; Postgres by a read-only transaction, one statement by
the extended protocol, and a role that can't run programs. Other databases are read only if the
operator says that the role can do no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine

NO_STATEMENT = "there is no statement in it, only comments or space"


@dataclass(frozen=True, slots=True)
class Result:
    """A statement's rows as they come; iterate once, inside the read."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


class Guard(Protocol):
    """How one kind of database is read and never written."""

    errors: tuple[type[Exception], ...]
    """What its driver raises."""

    def engine(self, url: URL) -> Engine:
        """Connections that can't write."""
        ...

    def check(self, connection: Connection) -> None:
        """Raises OperatorError if this connection could do more than read."""
        ...

    def reading(self, connection: Connection, timeout_s: float) -> AbstractContextManager[None]:
        """Inside, statements are cancelled when the time is over; whatever they did is undone."""
        ...

    def execute(self, connection: Connection, statement: str) -> Result:
        """Run exactly one statement as it is written."""
        ...

    def interrupt(self, connection: Connection) -> None:
        """Cancel what runs on the connection; called from another thread."""
        ...
