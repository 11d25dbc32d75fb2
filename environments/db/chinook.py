"""The Chinook sample database (a music shop), in memory and compared without regard to case."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from agentlm.environments.db.database import Database
from agentlm.environments.db.mysql.schema import quoted
from agentlm.tools.sql.sample_database import sample_database


@cache
def image() -> bytes:
    """The database, serialised: every task begins from a copy.

    Raises OperatorError if the package that carries the data is not installed.
    """
    database = Database()
    with (
        TemporaryDirectory() as directory,
        closing(sqlite3.connect(sample_database(Path(directory)))) as source,
        closing(database),
    ):
        names = source.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in names:
            rows = source.execute(f"SELECT * FROM {quoted(table)}")
            database.create(table, _columns(source, table), rows)
        return database.image()


def _columns(source: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    query = "SELECT name, type FROM pragma_table_info(?)"
    return [(name, kind) for name, kind in source.execute(query, (table,))]
