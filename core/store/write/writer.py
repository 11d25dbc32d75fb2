"""The writer: one thread that commits queued writes together.

This is group commit without a timer: while one transaction is being committed, further writes
queue, and the next transaction takes all of them. So a lone write doesn't wait for others, and
under load the cost of an fsync is shared. Within a transaction every write has a savepoint: a bad
one fails alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, SQLAlchemyError

from agentlm.errors import ConflictError, RequestError, UnavailableError
from agentlm.store.database import available, reason

T = TypeVar("T")
Work = Callable[[Connection], T]
_DEADLOCK = "40P01"
"""PostgreSQL's code for a deadlock. SQLite has only one writer at a time."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work[Any]
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Result:
    value: Any = None
    error: Exception | None = None

    @property
    def deadlocked(self) -> bool:
        """Whether the database aborted this write to end a deadlock between two processes."""
        cause = self.error.orig if isinstance(self.error, OperationalError) else None
        return getattr(cause, "sqlstate", None) == _DEADLOCK

    def hand_to(self, future: asyncio.Future[Any]) -> None:
        if future.done():
            return
        if self.error is not None:
            future.set_exception(_classified(self.error))
        else:
            future.set_result(self.value)


class Writer:
    """Runs writes in order, in its own thread, and answers when they are durable.

    `committed` gets the number of writes of each transaction.
    """

    def __init__(self, engine: Engine, committed: Callable[[int], None] | None = None) -> None:
        self._engine = engine
        self._committed = committed
        self._db: Connection | None = None
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._open = True
        self._entrance = threading.Lock()
        self.commits = 0
        """Transactions committed so far."""
        self.failing = False
        """Whether the last transaction failed."""
        self._thread = threading.Thread(target=self._run, name="agentlm-store", daemon=True)
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """Do `work` in the next transaction, and return its value once that is committed.

        A caller that is cancelled while it waits does not take the write back. Raises
        UnavailableError if the transaction fails.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._entrance:
            if not self._open:
                raise UnavailableError("the log is closed")
            self._queue.put(_Job(work, future))
        return await asyncio.shield(future)

    def close(self) -> None:
        """Commit what is queued and end the thread. Idempotent."""
        with self._entrance:
            if self._open:
                self._open = False
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        more = True
        while more:
            batch, more = self._take()
            while batch:
                batch = self._commit(batch)
        self._disconnect()

    def _take(self) -> tuple[list[_Job], bool]:
        """All queued writes, at least one, and whether more may come."""
        batch: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            try:
                job = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[_Job]) -> list[_Job]:
        """Commit a batch and answer its callers. Returns what has to be done again because it gave
        way to another process that wanted the same rows, and that has continued."""
        try:
            results = self._transact(batch)
        except Exception as error:  # noqa: BLE001 (passed to every waiting caller)
            self.failing = True
            self._disconnect()
            results = [_Result(error=UnavailableError(str(error))) for _ in batch]
        answers = list(zip(batch, results, strict=True))
        _deliver([(job, result) for job, result in answers if not result.deadlocked])
        return [job for job, result in answers if result.deadlocked]

    def _transact(self, batch: list[_Job]) -> list[_Result]:
        with available(self._engine.url):
            if self._db is None:
                self._db = self._engine.connect()
            with self._db.begin():
                results = [_attempt(self._db, job.work) for job in batch]
        self.failing = False
        self.commits += 1
        if self._committed is not None:
            self._committed(len(batch))
        return results

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(SQLAlchemyError):
                db.close()


def _attempt(db: Connection, work: Work[Any]) -> _Result:
    """Do one write. If its savepoint is lost, the transaction is lost, too, and this raises."""
    db.exec_driver_sql("SAVEPOINT entry")
    try:
        value = work(db)
        db.exec_driver_sql("RELEASE SAVEPOINT entry")
    except Exception as error:  # noqa: BLE001 (passed to the caller of the write)
        db.exec_driver_sql("ROLLBACK TO SAVEPOINT entry")
        return _Result(error=error)
    return _Result(value)


def _classified(error: Exception) -> Exception:
    if isinstance(error, IntegrityError):
        return ConflictError(f"the log has this already: {reason(error)}")
    if isinstance(error, (DataError, UnicodeError)):
        return RequestError(f"the log can't hold this: {reason(error)}")
    if isinstance(error, SQLAlchemyError):
        return UnavailableError(f"the log fails: {reason(error)}")
    return error


def _deliver(answers: list[tuple[_Job, _Result]]) -> None:
    """Wake each event loop once, however many of its writes were committed."""
    waiting: dict[asyncio.AbstractEventLoop, list[tuple[_Job, _Result]]] = {}
    for job, result in answers:
        waiting.setdefault(job.future.get_loop(), []).append((job, result))
    for loop, here in waiting.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_hand_out, here)


def _hand_out(answers: list[tuple[_Job, _Result]]) -> None:
    for job, result in answers:
        result.hand_to(job.future)
