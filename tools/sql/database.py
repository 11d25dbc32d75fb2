"""A database server, queried from threads. The server itself stops what takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from agentlm.agent.tool import ToolError
from agentlm.errors import OperatorError
from agentlm.tools.sql.guard import Guard
from agentlm.tools.sql.question import Question, answer, reason

T = TypeVar("T")
_WORKERS = 16
_CHECK_TIMEOUT_S = 10.0


class Database:
    """One database for any number of conversations at once; a `Reader`."""

    def __init__(self, engine: Engine, guard: Guard) -> None:
        self._engine = engine
        self._guard = guard
        self._errors: tuple[type[Exception], ...] = (SQLAlchemyError, *guard.errors)
        self._running: set[Connection] = set()
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="sql")

    @classmethod
    async def open(cls, url: URL, guard: Guard) -> Database:
        """Connect once. Raises OperatorError, with the password masked, if that is not possible."""
        database = cls(guard.engine(url), guard)
        try:
            await database._read(guard.check, _CHECK_TIMEOUT_S)
        except BaseException as error:
            await database.close()
            if not isinstance(error, ToolError):
                raise
            masked = url.render_as_string(hide_password=True)
            raise OperatorError(f"the database {masked} can't be read: {error}") from error
        return database

    async def ask(self, question: Question) -> str:
        """Ask on a separate connection. Cancelling the caller cancels the statement."""
        return await self._read(
            lambda connection: answer(question, connection, self._guard), question.timeout_s
        )

    async def close(self) -> None:
        """Stop what runs and close every connection."""
        await asyncio.to_thread(self._interrupt, self._running)
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._engine.dispose()

    async def _read(self, work: Callable[[Connection], T], timeout_s: float) -> T:
        mine: list[Connection] = []

        def guarded() -> T:
            with self._engine.connect() as connection:
                mine.append(connection)
                self._running.add(connection)
                try:
                    with self._guard.reading(connection, timeout_s):
                        return work(connection)
                finally:
                    mine.clear()
                    self._running.discard(connection)

        future = asyncio.get_running_loop().run_in_executor(self._threads, guarded)
        try:
            return await asyncio.shield(future)
        except self._errors as error:
            raise ToolError(reason(error)) from error
        except asyncio.CancelledError:
            future.cancel()
            await asyncio.to_thread(self._interrupt, mine)
            raise

    def _interrupt(self, connections: Collection[Connection]) -> None:
        for connection in list(connections):
            self._guard.interrupt(connection)
