"""The database itself enforces read-only access; nothing relies on reading the SQL.

A guard knows how one kind of database does that. SQLite opens the file read-only, with an
authorizer that allows only reading. Postgres uses a read-only transaction, the extended protocol,
which takes one statement, and a role that can't run programs. Other databases are read only if the
operator states that the role can do nothing else.
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
    """A statement's rows as they come. Iterate once, inside the read."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


class Guard(Protocol):
    """How one kind of database is read and never written."""

    errors: tuple[type[Exception], ...]
    """Exceptions of its driver."""

    def engine(self, url: URL) -> Engine:
        """Connections that can't write."""
        ...

    def check(self, connection: Connection) -> None:
        """Raises OperatorError if this connection could do more than read."""
        ...

    def reading(self, connection: Connection, timeout_s: float) -> AbstractContextManager[None]:
        """Inside, statements are cancelled when the time is over, and their effects are undone."""
        ...

    def execute(self, connection: Connection, statement: str) -> Result:
        """Run exactly one statement, unchanged."""
        ...

    def interrupt(self, connection: Connection) -> None:
        """Cancel the running statement; called from another thread."""
        ...
