"""Databases that a model may read: read-only is the database's own doing, never a reading of SQL.

A `Guard` says how one kind of database is held to that: SQLite by opening the file read-only and an
authorizer that lets nothing pass but reading; Postgres by a read-only transaction, one statement by
the extended protocol, and a role that can't run programs. Other databases are read only if the
operator says that the role can do no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from agentlm.agent import ToolError
from agentlm.errors import OperatorError

T = TypeVar("T")
_WORKERS = 16


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


class Database:
    """One database, read by any number of conversations at once."""

    def __init__(self, engine: Engine, guard: Guard, timeout_s: float) -> None:
        self.guard = guard
        self._errors: tuple[type[Exception], ...] = (SQLAlchemyError, *guard.errors)
        self._engine = engine
        self._timeout_s = timeout_s
        self._running: set[Connection] = set()
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="sql")

    @classmethod
    async def open(cls, url_text: str, guards: dict[str, Guard], timeout_s: float) -> Database:
        """Connect once. Raises OperatorError, with the password masked, if that is not possible."""
        try:
            url = make_url(url_text)
            guard = guards.get(url.get_backend_name()) or guards["*"]
            database = cls(guard.engine(url), guard, timeout_s)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise OperatorError(f"sql_url can't be used: {error}") from error
        try:
            await database.read(guard.check)
        except ToolError as error:
            await database.close()
            shown = url.render_as_string(hide_password=True)
            raise OperatorError(f"the database {shown} can't be read: {error}") from error
        except OperatorError:
            await database.close()
            raise
        return database

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a guarded connection in a thread; cancelling the caller cancels it.

        What the database has against it is raised as ToolError.
        """
        mine: list[Connection] = []

        def guarded() -> T:
            with self._engine.connect() as connection:
                mine.append(connection)
                self._running.add(connection)
                try:
                    with self.guard.reading(connection, self._timeout_s):
                        return work(connection)
                finally:
                    mine.clear()
                    self._running.discard(connection)

        future = asyncio.get_running_loop().run_in_executor(self._threads, guarded)
        try:
            return await asyncio.shield(future)
        except self._errors as error:
            raise ToolError(_reason(error)) from error
        except asyncio.CancelledError:
            future.cancel()
            await asyncio.to_thread(self._interrupt, mine)
            raise

    async def close(self) -> None:
        """Stop what runs and close every connection."""
        await asyncio.to_thread(self._interrupt, self._running)
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._engine.dispose()

    def _interrupt(self, connections: Collection[Connection]) -> None:
        for connection in list(connections):
            self.guard.interrupt(connection)


_REASONS = {
    "not authorized": "not authorized: this database can only be read",
    "interrupted": "the statement took too long, or too much space to sort, and was stopped",
}


def _reason(error: Exception) -> str:
    """The driver's own words on one line, plainer where they are terse."""
    text = " ".join(str(getattr(error, "orig", None) or error).split())
    return _REASONS.get(text, text or type(error).__name__)
