import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from agentlm.agent.tool import ToolContext, ToolError
from agentlm.errors import OperatorError
from agentlm.tools.settings import ToolSettings
from agentlm.tools.sql.tools import (
    SchemaArgs,
    Sql,
    SqlArgs,
    SqlSchema,
    SqlTables,
    TablesArgs,
    open_sql,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
MakeSettings = Callable[..., ToolSettings]
FOREVER = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sql(chinook: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sql]:
    settings = ToolSettings(
        data_dir=tmp_path_factory.mktemp("sql"),
        sql_url=f"sqlite:///{chinook}",
        tool_timeout_s=0.5,
        sql_rows=5,
    )
    *_, tool = await open_sql(settings)
    assert isinstance(tool, Sql)
    yield tool
    await tool.close()


def digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


async def run(sql: Sql, statement: str) -> str:
    return await sql.run(SqlArgs(statement=statement), ToolContext("traj_1", "me"))


async def test_a_statement_gets_its_rows(sql: Sql) -> None:
    output = await run(sql, "SELECT ArtistId, Name, NULL AS n FROM Artist LIMIT 2")
    assert output == "ArtistId | Name | n\n1 | AC/DC | NULL\n2 | Accept | NULL\n(2 rows)"


async def test_without_a_url_the_sample_database_is_built_and_whole(
    make_settings: MakeSettings,
) -> None:
    *_, sql = await open_sql(make_settings(sql_url=None))
    assert isinstance(sql, Sql)
    assert "\n3503\n" in await run(sql, "SELECT count(*) FROM Track")
    assert "\n8715\n" in await run(sql, "SELECT count(*) FROM PlaylistTrack")
    await sql.close()


async def test_tables_and_one_of_them_are_described(make_settings: MakeSettings) -> None:
    tables, schema, _ = await open_sql(make_settings())
    context = ToolContext("traj_1", "me")
    assert isinstance(tables, SqlTables)
    assert isinstance(schema, SqlSchema)
    assert "Album(AlbumId, Title, ArtistId)" in await tables.run(TablesArgs(), context)
    described = await schema.run(SchemaArgs(table="album"), context)
    assert "ArtistId INTEGER NOT NULL -> Artist(ArtistId)" in described
    assert "1 | For Those About To Rock" in described
    with pytest.raises(ToolError, match="no table 'Song'; the tables are: Album, "):
        await schema.run(SchemaArgs(table="Song"), context)
    await tables.close()


async def test_rows_are_limited_and_it_is_said(sql: Sql) -> None:
    output = await run(sql, "SELECT TrackId FROM Track")
    assert output.endswith("5\n(only the first 5 rows; there are more)")


async def test_a_long_statement_is_really_stopped(sql: Sql) -> None:
    with pytest.raises(ToolError, match="took too long"):
        await run(sql, FOREVER)
    assert "(1 row)" in await run(sql, "SELECT 1")


async def test_sorting_without_end_is_stopped_before_it_fills_the_disk(
    make_settings: MakeSettings,
) -> None:
    *_, tool = await open_sql(make_settings(tool_timeout_s=60))
    assert isinstance(tool, Sql)
    blob = "SELECT randomblob(99999)"
    rows = f"WITH RECURSIVE c(x) AS ({blob} UNION ALL {blob} FROM c)"
    with pytest.raises(ToolError, match="sorts or groups more than there is room for"):
        await run(tool, f"{rows} SELECT length(x) FROM c ORDER BY x")
    await tool.close()


async def test_one_long_function_call_is_stopped_too(sql: Sql) -> None:
    long, half = (f"replace(hex(zeroblob({size})), '0', 'a')" for size in (10**7, 5 * 10**6))
    with pytest.raises(ToolError, match="took too long"):
        await run(sql, f"SELECT instr({long}, {half} || 'b')")
    assert "(1 row)" in await run(sql, "SELECT 1")


async def test_cancelling_the_call_cancels_the_statement(make_settings: MakeSettings) -> None:
    *_, tool = await open_sql(make_settings(tool_timeout_s=600))
    assert isinstance(tool, Sql)
    call = asyncio.create_task(run(tool, FOREVER))
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await tool.close()


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("SELECT value FROM json_each('[5, 6]') LIMIT 1", "5"),
        ("SELECT count(*) FROM Artist, json_tree('{\"a\": [1]}')", "825"),
        ("SELECT name FROM pragma_table_info('Album') LIMIT 1", "AlbumId"),
        ("SELECT \"table\" FROM pragma_foreign_key_list('Album')", "Artist"),
        ("SELECT count(*) FROM pragma_table_list WHERE name = 'Album'", "1"),
        ("PRAGMA foreign_key_list(Album)", "0 | 0 | Artist"),
    ],
)
async def test_tables_that_only_tell_are_read(sql: Sql, statement: str, row: str) -> None:
    assert f"\n{row}" in await run(sql, statement)


async def test_virtual_tables_of_a_file_are_read_also_after_it_changed(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    path, quoted = tmp_path / "virtual.db", '"a ""note"'
    with closing(sqlite3.connect(path)) as other:
        other.executescript(f"""
            CREATE VIRTUAL TABLE {quoted} USING fts5(text);
            INSERT INTO {quoted} VALUES ('bees dance');
            CREATE VIRTUAL TABLE old USING fts4(text);
            INSERT INTO old VALUES ('bees dance');
            CREATE VIRTUAL TABLE place USING rtree(id, west, east);
            INSERT INTO place VALUES (1, 2, 3);
        """)
        *_, sql = await open_sql(make_settings(sql_url=f"sqlite:///{path}"))
        assert isinstance(sql, Sql)
        for change in ("CREATE TABLE one (x)", "CREATE TABLE two (x)"):
            assert "bees dance" in await run(sql, f"SELECT * FROM {quoted}('bees')")
            assert "bees dance" in await run(sql, "SELECT * FROM old WHERE old MATCH 'dance'")
            assert "1 | 2.0 | 3.0" in await run(sql, "SELECT * FROM place WHERE west < 5")
            other.executescript(change)
        await sql.close()


@pytest.mark.parametrize("statement", ["-- SELECT 1", "/* nothing */", " ;", "\n", "; -- x"])
async def test_no_statement_is_told_from_no_rows(sql: Sql, statement: str) -> None:
    with pytest.raises(ToolError, match="there is no statement in it"):
        await run(sql, statement)
    assert await run(sql, "SELECT 1 AS x WHERE 0 -- none") == "x\n(0 rows)"


async def test_a_refusal_says_what_may_be_asked(sql: Sql) -> None:
    with pytest.raises(ToolError, match="json_each, json_tree, and the pragmas that describe"):
        await run(sql, "SELECT * FROM pragma_database_list")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM Artist",
        "SELECT 1; DELETE FROM Artist",
        "SELECT 1; -- comment\nDROP TABLE Artist",
        "/* SELECT */ UPDATE Artist SET Name = 'x'",
        "WITH gone AS (SELECT 1) DELETE FROM Artist",
        "INSERT INTO Artist SELECT 999, 'x'",
        "REPLACE INTO Artist VALUES (1, 'x')",
        "CREATE TEMP TABLE t AS SELECT 1",
        "ATTACH DATABASE '/tmp/other.db' AS other",
        "DETACH DATABASE main",
        "VACUUM INTO '/tmp/copy.db'",
        "PRAGMA writable_schema = 1",
        "PRAGMA query_only = 0",
        "PRAGMA journal_mode = DELETE",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM pragma_journal_mode",
        "SELECT sql FROM sqlite_stmt",
        "UPDATE sqlite_master SET sql = ''",
        "PRAGMA data_version = 3",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT writefile('/tmp/x', 'y')",
        "BEGIN IMMEDIATE",
        "SAVEPOINT s",
        "PRAGMA user_version = 5",
        "ANALYZE",
        "CREATE VIRTUAL TABLE v USING fts5(x)",
        "SELECT zeroblob(1000000000)",
        "SELECT hex(randomblob(1000000000))",
    ],
)
async def test_writing_is_refused_by_the_database(sql: Sql, chinook: Path, statement: str) -> None:
    before = digest(chinook)
    with pytest.raises(ToolError):
        await run(sql, statement)
    assert digest(chinook) == before
    assert "(1 row)" in await run(sql, "SELECT 1")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////nowhere/at/all.db", "not an existing file"),
        ("postgresql://me:hunter2@127.0.0.1:1/db", "refused"),
        ("nonsense", "can't be used"),
        ("mysql://me:hunter2@127.0.0.1/db", "sql_trust_role"),
    ],
)
async def test_a_database_that_cannot_be_read_is_told_on_one_line(
    make_settings: MakeSettings, url: str, reason: str
) -> None:
    with pytest.raises(OperatorError, match=reason) as caught:
        await open_sql(make_settings(sql_url=url))
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
