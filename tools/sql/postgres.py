"""Postgres that can only be read: each read is one read-only transaction that is rolled back.

After a transaction has taken its first snapshot, it can't be made writable, so `reading` takes one.
The extended protocol refuses a second statement. What a read-only transaction still allows, the
role must forbid: when the database is opened, roles that can run programs, access files on the
database's machine or call functions that do more than read (`harmful`) are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from agentlm.errors import OperatorError
from agentlm.tools.sql.guard import Result
from agentlm.tools.sql.postgres_rights import SCRIPT, callable_harm

_CONNECT_TIMEOUT_S = 5
_POWERFUL = """
    SELECT rolname FROM pg_roles
    WHERE rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files',
                      'pg_read_all_stats', 'pg_signal_backend', 'pg_checkpoint')
      AND pg_has_role(current_user, oid, 'MEMBER')
    UNION ALL SELECT 'superuser' WHERE current_setting('is_superuser') = 'on'
    UNION ALL SELECT 'replication' FROM pg_roles WHERE rolname = current_user AND rolreplication
"""
_NAMED = 8
"""How many functions a refusal names."""
_NO_ROWS = (
    "only a statement that gives rows can be used here (SELECT, WITH, VALUES, SHOW, EXPLAIN), one "
    "at a time; COPY, SET, COMMIT and the like are not"
)


class PostgresGuard:
    """Read-only by transaction and role; stopped by `statement_timeout`."""

    def __init__(self, *, trusted: bool = False) -> None:
        self._trusted = trusted
        """The operator vouches for the functions that the role may call."""
        self.errors: tuple[type[Exception], ...] = ()

    def engine(self, url: URL) -> Engine:
        """Connections by psycopg, the driver that is installed with the extra `postgres`."""
        import psycopg

        self.errors = (psycopg.Error,)
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={"connect_timeout": _CONNECT_TIMEOUT_S, "prepare_threshold": None},
            pool_size=16,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
        )
        event.listen(engine, "reset", _forget)
        return engine

    def check(self, connection: Connection) -> None:
        """Raises OperatorError for a role that a read-only transaction does not restrict."""
        powers = [row[0] for row in connection.exec_driver_sql(_POWERFUL)]
        if powers:
            raise OperatorError(
                f"the database role of sql_url is too powerful ({', '.join(powers)}): a read-only "
                "transaction does not stop it from running programs or reaching other sessions; "
                f"use a role that can only read ({SCRIPT} makes one)"
            )
        names = [row[0] for row in connection.exec_driver_sql(callable_harm())]
        if names and not self._trusted:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise OperatorError(
                "the database role of sql_url may call functions that do more than read: "
                f"{', '.join(names[:_NAMED])}{more}; {SCRIPT} makes a role that "
                "may not, and sql_trust_role says that they harm nobody"
            )

    @contextmanager
    def reading(self, connection: Connection, timeout_s: float) -> Iterator[None]:
        """One read-only transaction with its snapshot taken, rolled back at the end."""
        raw = _raw(connection)
        raw.execute("BEGIN TRANSACTION READ ONLY")
        raw.execute(f"SET LOCAL statement_timeout = {int(timeout_s * 1000)}")
        raw.execute("SELECT 1")
        try:
            yield
        finally:
            if raw.info.transaction_status.name in ("INTRANS", "INERROR", "IDLE"):
                raw.execute("ROLLBACK")
            else:
                # The connection is in the middle of something, such as COPY, or closed; it is of no
                # further use.
                connection.invalidate()

    def execute(self, connection: Connection, statement: str) -> Result:
        """Rows are streamed. Leaving the stream early cancels the statement."""
        import psycopg

        cursor = _raw(connection).cursor()
        rows = cursor.stream(statement)
        try:
            first = next(rows, None)
        except (psycopg.ProgrammingError, psycopg.InternalError) as error:
            if error.sqlstate is not None:  # the database's own refusal, not the driver's
                raise
            raise psycopg.ProgrammingError(_NO_ROWS) from error
        columns = [column.name for column in cursor.description or ()]
        return Result(columns, _chain(first, rows))

    def interrupt(self, connection: Connection) -> None:
        """The running statement ends with "canceling statement due to user request"."""
        _raw(connection).cancel_safe(timeout=_CONNECT_TIMEOUT_S)


def _raw(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _chain(first: Any, rows: Any) -> Iterator[tuple[Any, ...]]:
    try:
        if first is not None:
            yield first
            yield from rows
    finally:
        rows.close()


def _forget(raw: Any, _record: Any, state: Any) -> None:
    """Discard settings, locks and prepared statements of one read before the next."""
    if not state.terminate_only:
        raw.execute("DISCARD ALL")
