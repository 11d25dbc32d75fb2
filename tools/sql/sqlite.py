"""SQLite for reading only: the file is opened read-only, and an authorizer, which is called while a
statement is compiled, allows nothing but reading.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.pool import QueuePool

from agentlm.agent.tool import ToolError
from agentlm.errors import OperatorError
from agentlm.tools.settings import MEBIBYTE
from agentlm.tools.sql.guard import NO_STATEMENT, Result

_READ_ACTIONS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_DESCRIBING_PRAGMAS = {
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "table_info",
    "table_list",
    "table_xinfo",
}
_ASKED_PRAGMAS = {"data_version", "read_uncommitted", "schema_version"}
"""Pragmas that full-text search, SQLAlchemy and `reading` read. None may be set."""
_EPONYMOUS = ("json_each", "json_tree", *(f"pragma_{name}" for name in sorted(_DESCRIBING_PRAGMAS)))
"""Tables that exist without being created."""
_VIRTUAL_TABLES = "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'"
_FORBIDDEN_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
_STEPS_BETWEEN_LOOKS = 10_000
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 64 * MEBIBYTE,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


class SqliteGuard:
    """Read-only by `mode=ro`, `query_only` and an authorizer; stopped by a progress callback."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error, sqlite3.Warning)

    def engine(self, url: URL) -> Engine:
        """Connections to an existing file."""
        address = f"file:{quote(str(require_file(url).absolute()))}?mode=ro"
        return create_engine(
            "sqlite+pysqlite://",
            creator=lambda: _connect(address),
            poolclass=QueuePool,
        )

    def check(self, connection: Connection) -> None:
        """A file that is not a database fails here."""
        connection.exec_driver_sql("SELECT name FROM sqlite_master LIMIT 1").all()

    @contextmanager
    def reading(self, connection: Connection, timeout_s: float) -> Iterator[None]:
        """Statements are interrupted when the time is over."""
        raw = _raw(connection)
        # Declaring them each time halved the rate of statements.
        schema = raw.execute("PRAGMA schema_version").fetchone()
        if connection.info.get("declared") != schema:
            _load_virtual_tables(raw)
            connection.info["declared"] = schema
        end = time.monotonic() + timeout_s
        raw.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
        try:
            yield
        finally:
            raw.set_progress_handler(None, 0)

    def execute(self, connection: Connection, statement: str) -> Result:
        """SQLite's own interface refuses a second statement."""
        cursor = _raw(connection).execute(statement)
        if cursor.description is None:  # every statement that reads has columns
            raise ToolError(NO_STATEMENT)
        return Result([column[0] for column in cursor.description], iter(cursor))

    def interrupt(self, connection: Connection) -> None:
        """The running statement ends with "interrupted"."""
        _raw(connection).interrupt()


def require_file(url: URL) -> Path:
    """The file of a URL. Raises OperatorError if it does not exist."""
    path = Path(url.database or ":memory:")
    if not path.is_file():
        raise OperatorError(f"the SQLite database {path} is not an existing file")
    return path


def _raw(connection: Connection) -> sqlite3.Connection:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _connect(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    connection.text_factory = lambda data: data.decode(errors="replace")
    connection.set_authorizer(_authorize)
    return connection


def _load_virtual_tables(connection: sqlite3.Connection) -> None:
    """Make the code behind virtual tables declare them now, since that looks like writing.

    SQLite does so when a table is first named, and again after another program changed the schema.
    """
    connection.set_authorizer(None)
    try:
        made = connection.execute(_VIRTUAL_TABLES).fetchall()
        for name in (*_EPONYMOUS, *(row[0].replace('"', '""') for row in made)):
            with suppress(sqlite3.Error):  # of a module that this SQLite lacks
                connection.execute(f'SELECT * FROM "{name}" LIMIT 0').close()
    finally:
        connection.set_authorizer(_authorize)


def _authorize(
    action: int, first: str | None, second: str | None, database: str | None, trigger: str | None
) -> int:
    """Allow reading, and describing what can be read. Refuse everything else."""
    if action in _READ_ACTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION:
        forbidden = (second or "").lower() in _FORBIDDEN_FUNCTIONS
        return sqlite3.SQLITE_DENY if forbidden else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA:
        pragma = (first or "").lower()
        asks = pragma in _ASKED_PRAGMAS and second is None
        allowed = asks or pragma in _DESCRIBING_PRAGMAS
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_DENY
