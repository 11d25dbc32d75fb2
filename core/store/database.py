"""Opening a database: addresses, connections, and the schema brought up to date."""

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
"""What opens a transaction that only reads."""

BUSY_TIMEOUT_S = 15.0
"""How long a write waits for another process's transaction on the same SQLite file."""
CONNECT_TIMEOUT_S = 5
_MIGRATION_LOCK = 0x61676C6D
"""Number of the PostgreSQL advisory lock that one migrating process holds."""


@dataclass(frozen=True, slots=True)
class Database:
    """Two ways into one database."""

    url: URL
    writer: Engine
    """For one thread. On SQLite a transaction takes the write lock when it begins."""
    reader: Engine
    """For any number of threads; each transaction sees one moment."""
    checkpointer: Checkpointer | None = None
    """On SQLite."""

    def committed(self, writes: int) -> None:
        """To be told of each commit."""
        if self.checkpointer is not None:
            self.checkpointer.note(writes)

    def close(self) -> None:
        """Close idle connections and end what runs beside them."""
        if self.checkpointer is not None:
            self.checkpointer.close()
        self.writer.dispose()
        self.reader.dispose()


def open_database(address: str, *also: Callable[[Connection], None]) -> Database:
    """Connect, migrate to the newest schema, and do what `also` is to be done then.

    Raises OperatorError, in one line, for an address that can't be understood, reached or written,
    or a log whose schema is newer than this program.
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
            f"the log at {_shown(database.url)} can't be opened: {reason(error)}"
        ) from error
    return database


def connect(address: str) -> Database:
    """What `open_database` opens, as it is; connections are made when they are used."""
    url = _parse(address)
    try:
        return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgres(url)
    except ImportError as error:
        raise OperatorError(
            f"the log at {_shown(url)} needs PostgreSQL's driver: {install('postgres')}"
        ) from error


def upgrade(db: Connection, revision: str = HEAD) -> None:
    """Bring the schema to a revision, in the connection's transaction."""
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


def shown(address: str) -> str:
    """An address without its password."""
    return _shown(_parse(address))


def file_of(address: str) -> Path | None:
    """The file that a log is kept in; None if it is on a server."""
    url = _parse(address)
    return Path(url.database or "").resolve() if url.get_backend_name() == "sqlite" else None


def schema(database: Database) -> str | None:
    """The revision that a log has; None: it is empty. Raises OperatorError if it can't be read."""
    try:
        with closing(database), database.reader.begin() as db:
            return _schema(db)
    except SQLAlchemyError as error:
        raise OperatorError(
            f"the log at {_shown(database.url)} can't be read: {reason(error)}"
        ) from error


def reason(error: Exception) -> str:
    """What the database said, in one line, without the statement and its values."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(said).split())


@contextmanager
def available(url: URL) -> Iterator[None]:
    """Turn a failure into UnavailableError, and text that a database refuses into RequestError."""
    try:
        yield
    except (DataError, UnicodeError) as error:
        raise RequestError(f"the log can't hold this: {reason(error)}") from error
    except SQLAlchemyError as error:
        raise UnavailableError(f"the log at {_shown(url)} fails: {reason(error)}") from error


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
        f"the log can't be kept at {_shown(url)}: use sqlite:///FILE or "
        "postgresql+psycopg://USER@HOST/DATABASE"
    )


@contextmanager
def _alone(url: URL) -> Iterator[None]:
    """One opener of SQLite files in a folder at a time: switching a new one to WAL can't wait."""
    if url.get_backend_name() != "sqlite":
        yield
        return
    # The folder is locked: closing the file itself would drop the locks that SQLite holds on it.
    folder = os.open(Path(url.database or "").parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _shown(url: URL) -> str:
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
    """Take transactions out of the driver's hands: it would begin them late and unlocked."""

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
