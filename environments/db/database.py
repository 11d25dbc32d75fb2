"""A private database per task: SQLite that behaves as MySQL does where the tasks depend on it.

In memory, closed to the outside (no attached files, no extensions, no pragmas), with a deadline for
every statement and bounds on what it may make. Text compares without regard to case; statements are
read as MySQL and written for SQLite (`mysql/`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agentlm.environments.db.mysql.aggregates import GROUP_CONCAT_CHARS
from agentlm.environments.db.mysql.functions import add_functions
from agentlm.environments.db.mysql.refusals import MySQLError
from agentlm.environments.db.mysql.schema import Schema, UnknownTableError, quoted
from agentlm.environments.db.mysql.translate import translate

STATEMENT_SECONDS = 2.0
MAX_VALUE_BYTES = 1_000_000
MAX_ROWS = 1000
_INSTRUCTIONS_BETWEEN_CHECKS = 10_000

_FORBIDDEN = {
    sqlite3.SQLITE_ATTACH,
    sqlite3.SQLITE_DETACH,
    sqlite3.SQLITE_PRAGMA,
    sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_SAVEPOINT,
    sqlite3.SQLITE_CREATE_VTABLE,
}


_NO_COLUMN = re.compile(r"no such column: (.*)")


class StatementError(Exception):
    """The database refused a statement; the text is for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave: rows, or how many it changed."""

    rows: list[tuple[Any, ...]]
    changed: int | None = None
    """None for a query."""
    more: bool = False
    """There were more than `MAX_ROWS` rows."""


class Database:
    """One task's database. Not for concurrent use."""

    def __init__(self, image: bytes | None = None) -> None:
        """Empty, or a copy of a serialised database."""
        # Statements run on worker threads, one at a time.
        self._connection = sqlite3.connect(
            ":memory:", check_same_thread=False, isolation_level=None
        )
        if image is not None:
            self._connection.deserialize(image)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        self._complaint: Exception | None = None
        self._deadline = math.inf
        add_functions(self._connection, self._complain, self._overdue)
        self._connection.set_progress_handler(self._overdue, _INSTRUCTIONS_BETWEEN_CHECKS)

    def create(
        self, table: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]
    ) -> None:
        """Make a table of (name, type) columns and fill it."""
        listed = ", ".join(f"{quoted(name)} {kind} COLLATE mysql" for name, kind in columns)
        holders = ", ".join("?" * len(columns))
        self._connection.execute("BEGIN")
        self._connection.execute(f"CREATE TABLE {quoted(table)} ({listed})")
        self._connection.executemany(f"INSERT INTO {quoted(table)} VALUES ({holders})", rows)
        self._connection.execute("COMMIT")

    def run(self, statement: str) -> Result:
        """Run one statement in MySQL's dialect. Raises StatementError."""
        # Processor time of this thread: a busy machine must not end a statement.
        self._deadline = time.thread_time() + STATEMENT_SECONDS
        self._complaint = None
        try:
            translated = translate(statement, Schema.of(self._connection))
            self._connection.set_authorizer(_authorize)
            cursor = self._connection.execute(translated)
            if cursor.description is None:
                return Result([], changed=max(cursor.rowcount, 0))
            rows = cursor.fetchmany(MAX_ROWS + 1)
            return Result(rows[:MAX_ROWS], more=len(rows) > MAX_ROWS)
        except (MySQLError, UnknownTableError) as error:
            raise StatementError(str(error)) from error
        except UnicodeEncodeError as error:
            wrong = f"Incorrect string value: {error.object[error.start : error.end]!a}"
            raise StatementError(wrong) from error
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise StatementError(_words(self._complaint or error)) from error
        finally:
            self._deadline = math.inf
            self._connection.set_authorizer(None)

    def table_names(self) -> list[str]:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        return [row[0] for row in self._read(query)]

    def table_hash(self, table: str) -> str:
        """AgentBench's digest of a table, blind to the order of its rows.

        Of each row it takes the first five hex digits of the md5 of the values, joined by commas
        (NULL is left out, as CONCAT_WS does). These are sorted, joined by commas and cut to the
        length that MySQL's GROUP_CONCAT allows; the digest is the md5 of that.
        """
        return _md5(self._row_hashes(table)[:GROUP_CONCAT_CHARS])

    def state_hash(self) -> str:
        """A digest of everything in the database: which column a value stands in matters here."""
        return _md5(json.dumps({name: self._contents(name) for name in self.table_names()}))

    def _contents(self, table: str) -> tuple[list[str], list[str]]:
        cursor = self._rows(table)
        rows = ([None if value is None else _cell(value) for value in row] for row in cursor)
        return [column[0] for column in cursor.description], sorted(map(json.dumps, rows))

    def _row_hashes(self, table: str) -> str:
        return ",".join(
            sorted(
                _md5(",".join(_cell(value) for value in row if value is not None))[:5]
                for row in self._rows(table)
            )
        )

    def _rows(self, table: str) -> sqlite3.Cursor:
        # A temporary table of the same name would hide the one that the task is about.
        return self._connection.execute(f"SELECT * FROM main.{quoted(table)}")

    def image(self) -> bytes:
        """The whole database, to begin others from."""
        return self._connection.serialize()

    def close(self) -> None:
        self._connection.close()

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()

    def _complain(self, error: Exception) -> None:
        self._complaint = error

    def _overdue(self) -> bool:
        return time.thread_time() > self._deadline


def _authorize(action: int, subject: str | None, *_: object) -> int:
    describes = action == sqlite3.SQLITE_PRAGMA and subject == "table_info"
    return sqlite3.SQLITE_DENY if action in _FORBIDDEN and not describes else sqlite3.SQLITE_OK


def _words(error: Exception) -> str:
    text = str(error)
    if text == "interrupted" or isinstance(error, TimeoutError):
        return f"the statement took longer than {STATEMENT_SECONDS:g} s"
    if unknown := _NO_COLUMN.fullmatch(text):
        return f"Unknown column '{unknown[1]}' in 'field list'"
    return text


def _cell(value: object) -> str:
    # 12.1 + 3 is 15.100000000000001: a digest must not tell it from 15.1.
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
