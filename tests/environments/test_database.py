"""The task's database: MySQL's ways, and nothing but its own data within reach."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agentlm.environments.db.database import STATEMENT_SECONDS, Database, StatementError
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


A_MILLION = "REPEAT('a', 1000000)"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT CONCAT(REPEAT('x', 40), '!') REGEXP '(x|x)*(x|x)*(x|x)*(x|x)*(x|x)*y'",
        f"SELECT {A_MILLION} REGEXP '(a?a?a?a?a?)*(a?a?a?a?)*(a?a?a?a?)*(a?a?)*b'",
        "SELECT REGEXP_REPLACE(REPEAT('a', 100000), '((a|aa)+)+b', 'c')",
        f"SELECT REGEXP_SUBSTR({A_MILLION}, '((a|aa)+)+b')",
        f"SELECT {A_MILLION} LIKE '%a%a%a%a%a%a%a%a%a%b'",
        f"SELECT {A_MILLION} LIKE REPEAT('%a', 100000)",
        f"SELECT {A_MILLION} REGEXP REPEAT('(a|b)', 100000)",
        f"SELECT LENGTH(REPLACE({A_MILLION}, 'a', {A_MILLION}))",
        f"SELECT LENGTH(REGEXP_REPLACE({A_MILLION}, 'a', {A_MILLION}))",
        f"SELECT GROUP_CONCAT(CONCAT(n, {A_MILLION})) FROM `My Table 1`",
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 100000) "
        "SELECT COUNT(*) FROM r WHERE CONCAT(REPEAT('x', 500), i) REGEXP '(x+x+)+(x+x+)+z'",
    ],
)
def test_no_pattern_and_no_replacement_keeps_the_process_busy_or_fills_its_memory(
    database: Database, statement: str
) -> None:
    begun = time.thread_time()
    tracemalloc.start()
    try:
        with suppress(StatementError):
            database.run(statement)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    assert time.thread_time() - begun < 2 * STATEMENT_SECONDS


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT '\ud800'",
        "SELECT n AS `\udfff` FROM `My Table 1`",
        "DELETE  `My Table 1` WHERE n = 1",
        "SELECT 1 IN",
        "SELECT SUBSTRING('abcdef' -3)",
        "UPDATE `My Table 1` SET n = 3, t",
        "SELECT 'a' REGEXP '('",
        "SELECT REGEXP_SUBSTR('a', 'a', 0)",
        "SELECT CAST()",
        "SELECT CASE END",
        "INSERT INTO `My Table 1`",
        "\x00",
        "",
        ";",
    ],
)
def test_what_is_no_whole_statement_is_refused_and_breaks_nothing(
    database: Database, statement: str
) -> None:
    with pytest.raises(StatementError):
        database.run(statement)


@pytest.mark.parametrize(
    ("text", "pattern", "matches"),
    [
        ("abab", "ab%ab", 1),
        ("ab", "ab%b", 0),
        ("abb", "a%b%b", 1),
        ("a-b-c", "%-%-%", 1),
        ("a-b", "%-%-%", 0),
        ("abcbc", "%bc", 1),
        ("abc", "%", 1),
        ("abc", "___", 1),
        ("abc", "_%_%__", 0),
        ("a%c", "a\\\\%c", 1),
        ("a\nb", "a%b", 1),
        ("Zürich", "%UR%", 1),
        ("", "%%", 1),
        ("", "", 1),
    ],
)
def test_like_finds_what_it_always_found(
    database: Database, text: str, pattern: str, matches: int
) -> None:
    assert database.run(f"SELECT '{text}' LIKE '{pattern}'").rows == [(matches,)]


def test_its_hash_is_blind_to_the_order_of_rows_and_to_noise_in_sums(database: Database) -> None:
    database.create("a", [("x", "REAL"), ("y", "TEXT")], [(12.1 + 3, "p"), (2.0, None)])
    database.create("b", [("x", "REAL"), ("y", "TEXT")], [(2.0, None), (15.1, "p")])
    assert database.table_hash("a") == database.table_hash("b")


@pytest.mark.parametrize(
    ("text", "number"), [("12 km", 12), ("-1.5e2x", -150), ("none", 0), ("", 0), (None, None)]
)
def test_text_becomes_a_number_by_its_beginning(text: str | None, number: float | None) -> None:
    assert as_number(text) == number


@pytest.mark.parametrize(
    "statements",
    [
        ("UPDATE `My Table 1` SET `A b` = NULL, t = 'x' WHERE n = 1",),
        ("UPDATE `My Table 1` SET `A b` = 'x,1', n = NULL WHERE n = 1",),
        ("ALTER TABLE `My Table 1` RENAME COLUMN `A b` TO b",),
        ("ALTER TABLE `My Table 1` ADD COLUMN b INT",),
        ("DELETE FROM `My Table 1` WHERE n = 1", "INSERT INTO `My Table 1` VALUES (1, 'x', '10')"),
        ("CREATE TABLE `My Table 2` (n INT)",),
    ],
)
def test_a_value_in_another_column_is_another_state(
    database: Database, statements: tuple[str, ...]
) -> None:
    database.run("UPDATE `My Table 1` SET t = NULL WHERE n = 1")
    before = database.state_hash()
    for statement in statements:
        database.run(statement)
    assert database.state_hash() != before


def test_a_change_to_a_temporary_table_of_the_same_name_is_none(database: Database) -> None:
    before = database.state_hash(), database.table_hash("My Table 1")
    database.run("CREATE TEMPORARY TABLE `My Table 1` AS SELECT * FROM `My Table 1`")
    database.run("UPDATE `My Table 1` SET n = 7")
    database.run("CREATE VIEW other AS SELECT 7")
    assert (database.state_hash(), database.table_hash("My Table 1")) == before
