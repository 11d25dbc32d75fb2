"""The task's database: MySQL's ways, and nothing but its own data within reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlm.environments.db.database import Database, StatementError
from agentlm.environments.db.mysql.values import as_number

KINDS = ("text", "int", "text")


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database()
    columns = [("A b", "TEXT"), ("n", "INTEGER"), ("t", "TEXT")]
    database.create("My Table 1", columns, [("x", 1, "10"), ("Y", 2, "9")])
    yield database
    database.close()


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SELECT n FROM `My Table 1` WHERE `a B` = 'y'", [(2,)]),
        ("SELECT n FROM `My Table 1` WHERE t < 9.5", [(2,)]),
        ("SELECT n FROM `My Table 1` WHERE t BETWEEN 9 AND 9", [(2,)]),
        ('SELECT n FROM `My Table 1` WHERE `A b` = "x"', [(1,)]),
        (
            "SELECT 'it\\'s', CONCAT('a', 1), LEFT('abc', 2), IF(1 > 0, 'y', 'n')",
            [("it's", "a1", "ab", "y")],
        ),
        ("SELECT n FROM `My Table 1` ORDER BY n LIMIT 1, 1", [(2,)]),
        ("SHOW TABLES;", [("My Table 1",)]),
        (
            "DESCRIBE `My Table 1`",
            [
                (name, kind, "YES", "", None, "")
                for name, kind in zip(("A b", "n", "t"), KINDS, strict=True)
            ],
        ),
    ],
)
def test_it_reads_statements_as_mysql_does(
    database: Database, statement: str, rows: list[tuple[object, ...]]
) -> None:
    assert database.run(statement).rows == rows


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH DATABASE '{file}' AS other",
        "VACUUM INTO '{file}'",
        "CREATE VIRTUAL TABLE v USING fts5(x)",
        "PRAGMA writable_schema = 1",
        "SELECT load_extension('{file}')",
        "SELECT 1; DELETE FROM `My Table 1`",
        "SELECT zeroblob(100000000)",
    ],
)
def test_it_refuses_to_reach_or_grow_beyond_its_own_data(
    database: Database, statement: str, tmp_path: Path
) -> None:
    before = database.state_hash()
    with pytest.raises(StatementError):
        database.run(statement.replace("{file}", str(tmp_path / "other.db")))
    assert database.state_hash() == before
    assert not list(tmp_path.iterdir())


def test_it_ends_a_statement_that_would_never_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentlm.environments.db.database.STATEMENT_SECONDS", 0.05)
    endless = "WITH RECURSIVE a(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM a) SELECT MAX(i) FROM a"
    with pytest.raises(StatementError, match="took longer"):
        database.run(endless)


def test_its_hash_is_blind_to_the_order_of_rows_and_to_noise_in_sums(database: Database) -> None:
    database.create("a", [("x", "REAL"), ("y", "TEXT")], [(12.1 + 3, "p"), (2.0, None)])
    database.create("b", [("x", "REAL"), ("y", "TEXT")], [(2.0, None), (15.1, "p")])
    assert database.table_hash("a") == database.table_hash("b")


@pytest.mark.parametrize(
    ("text", "number"), [("12 km", 12), ("-1.5e2x", -150), ("none", 0), ("", 0), (None, None)]
)
def test_text_becomes_a_number_by_its_beginning(text: str | None, number: float | None) -> None:
    assert as_number(text) == number
