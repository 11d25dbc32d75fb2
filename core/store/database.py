"""Open a database: addresses, connections, and migration to the current schema."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    NullPool,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from agentlm.errors import OperatorError, RequestError, UnavailableError
from agentlm.install import install
from agentlm.store.checkpoint import PAGES_AT_MOST, Checkpointer
from agentlm.store.migrations import HEAD

ReadAccess = Callable[[], AbstractContextManager[Connection]]
"""Opens a transaction that only reads."""

BUSY_TIMEOUT_S = 15.0
"""How long a write waits for another process's transaction on the same SQLite file."""
CONNECT_TIMEOUT_S = 5
_MIGRATION_LOCK = 0x61676C6D
"""Key of the PostgreSQL advisory lock that a migrating process holds."""


@dataclass(frozen=True, slots=True)
class Database:
    """Two connections to one database."""

    url: URL
    writer: Engine
    """For one thread. On SQLite, a transaction takes the write lock when it begins."""
    reader: Engine
    """For any number of threads. Each transaction sees a single snapshot."""
    checkpointer: Checkpointer | None = None
    """Only on SQLite."""

    def committed(self, writes: int) -> None:
        """Report the writes of a commit."""
        if self.checkpointer is not None:
            self.checkpointer.note(writes)

    def close(self) -> None:
        """Close idle connections, and end the checkpointer."""
        if self.checkpointer is not None:
            self.checkpointer.close()
        self.writer.dispose()
        self.reader.dispose()


def open_database(address: str, *also: Callable[[Connection], None]) -> Database:
    """Connect, migrate to the newest schema, and then run the functions in `also`.

    Raises OperatorError, in one line, if the address can't be understood, reached or written, or if
    the log's schema is newer than this program.
    """
    database = connect(address)
    try:
        with _alone(database.url), database.writer.begin() as db:
            upgrade(db)
            for work in also:
                work(db)
    except (SQLAlchemyError, OSError) as error:
        database.close()
        raise OperatorError(
            f"the log at {_public(database.url)} can't be opened: {reason(error)}"
        ) from error
    return database


def connect(address: str) -> Database:
    """Like `open_database`, without migration. Connections are made when they are used."""
    url = _parse(address)
    try:
        return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgres(url)
    except ImportError as error:
        raise OperatorError(
            f"the log at {_public(url)} needs PostgreSQL's driver: {install('postgres')}"
        ) from error


def upgrade(db: Connection, revision: str = HEAD) -> None:
    """Migrate the schema to a revision, in the connection's transaction."""
    if db.dialect.name == "postgresql":
        db.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    if _schema(db) == revision:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script.revision import ResolutionError
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "agentlm.store:migrations")
    config.attributes["connection"] = db
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        if not isinstance(error.__cause__, ResolutionError):
            raise
        raise OperatorError(
            f"the log has schema {_schema(db)}, this program knows {HEAD}: upgrade agentlm"
        ) from error


def without_password(address: str) -> str:
    return _public(_parse(address))


def file_of(address: str) -> Path | None:
    """The file of a log; None if the log is on a server."""
    url = _parse(address)
    return Path(url.database or "").resolve() if url.get_backend_name() == "sqlite" else None


def schema(database: Database) -> str | None:
    """The revision of a log; None: it is empty. Raises OperatorError if it can't be read."""
    try:
        with closing(database), database.reader.begin() as db:
            return _schema(db)
    except SQLAlchemyError as error:
        raise OperatorError(
            f"the log at {_public(database.url)} can't be read: {reason(error)}"
        ) from error


def reason(error: Exception) -> str:
    """The database's message in one line, without the statement and its values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split())


@contextmanager
def available(url: URL) -> Iterator[None]:
    """Turn a failure into UnavailableError, or into RequestError if the database refuses a text."""
    try:
        yield
    except (DataError, UnicodeError) as error:
        raise RequestError(f"the log can't hold this: {reason(error)}") from error
    except SQLAlchemyError as error:
        raise UnavailableError(f"the log at {_public(url)} fails: {reason(error)}") from error


def _schema(db: Connection) -> str | None:
    if not inspect(db).has_table("alembic_version"):
        return None
    version: str | None = db.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def _parse(address: str) -> URL:
    try:
        url = make_url(address)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise OperatorError(f"{address!r} is not the address of a database: {error}") from error
    if backend == "sqlite" and url.database not in (None, "", ":memory:"):
        return url.set(drivername="sqlite")
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    raise OperatorError(
        f"the log can't be kept at {_public(url)}: use sqlite:///FILE or "
        "postgresql+psycopg://USER@HOST/DATABASE"
    )


@contextmanager
def _alone(url: URL) -> Iterator[None]:
    """Let only one process open SQLite files in a folder: switching to WAL does not wait for
    locks."""
    if url.get_backend_name() != "sqlite":
        yield
        return
    # Lock the folder: closing the file itself would release the locks that SQLite holds on it.
    folder = os.open(Path(url.database or "").parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _public(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _sqlite(url: URL) -> Database:
    folder = Path(url.database or "").parent
    if not folder.is_dir():
        raise OperatorError(f"the log can't be kept in {folder}: there is no such directory")
    options = {"timeout": BUSY_TIMEOUT_S}
    writer = create_engine(url, paramstyle="named", poolclass=NullPool, connect_args=options)
    reader = create_engine(url, connect_args=options)
    durable = ("journal_mode = WAL", "synchronous = FULL")
    _set_up_sqlite(writer, "BEGIN IMMEDIATE", *durable, f"wal_autocheckpoint = {PAGES_AT_MOST}")
    _set_up_sqlite(reader, "BEGIN", "query_only = ON")
    return Database(url, writer, reader, Checkpointer(writer))


def _set_up_sqlite(engine: Engine, begin: str, *pragmas: str) -> None:
    """Begin transactions here: the driver would begin them late and without a lock."""

    def connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in (*pragmas, "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", lambda db: db.exec_driver_sql(begin))


def _postgres(url: URL) -> Database:
    options = {"connect_timeout": CONNECT_TIMEOUT_S}
    writer = create_engine(url, poolclass=NullPool, connect_args=options)
    reader = create_engine(
        url,
        connect_args=options,
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
    )
    return Database(url, writer, reader)
