"""Move SQLite's write-ahead log into the database file, outside of commits.

SQLite does this by itself within a commit, every thousand pages: at a hundred answers a second, one
answer in a hundred then waits some milliseconds for scattered writes and a second fsync. A passive
checkpoint on a separate connection delays neither readers nor the writer.
"""

from __future__ import annotations

import threading
from contextlib import closing, suppress

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

WRITES = 64
"""Number of writes after which a checkpoint is worthwhile: about a thousand pages."""
PAGES_AT_MOST = 20_000
"""Beyond this, SQLite does it within a commit after all, if this thread can't keep up."""


class Checkpointer:
    """A thread that checkpoints when enough was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writes = 0
        self._open = True
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentlm-checkpoint", daemon=True)
        self._thread.start()

    def note(self, writes: int) -> None:
        """`writes` more writes were committed."""
        self._writes += writes
        if self._writes >= WRITES:
            self._writes = 0
            self._wanted.set()

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._open = False
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while self._wanted.wait() and self._open:
            self._wanted.clear()
            # For example on a full disk. The writer then fails too, and reports it to its callers.
            with suppress(SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error):
                self._checkpoint()

    def _checkpoint(self) -> None:
        with closing(self._engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
