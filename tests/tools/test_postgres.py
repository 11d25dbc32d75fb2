import asyncio
import logging
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import psycopg
import pytest

from agentlm.agent.tool import ToolContext, ToolError
from agentlm.errors import OperatorError
from agentlm.tools.settings import ToolSettings
from agentlm.tools.sql.postgres_rights import SCRIPT
from agentlm.tools.sql.tools import SchemaArgs, Sql, SqlArgs, SqlSchema, open_sql
from support.postgres import Postgres

MakeSettings = Callable[..., ToolSettings]
CONTEXT = ToolContext("traj_1", "me")


@pytest.fixture(scope="module")
def admin(postgres: Postgres) -> Iterator[psycopg.Connection]:
    url = postgres.create_database()
    database = url.partition("@/")[2].partition("?")[0]
    address = f"host={postgres.folder} user=postgres dbname={database}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE TABLE pet (id serial PRIMARY KEY, name text NOT NULL)")
        connection.execute("INSERT INTO pet (name) SELECT 'pet ' || n FROM generate_series(1, 9) n")
        connection.execute("CREATE ROLE writer LOGIN")
        connection.execute("GRANT ALL ON pet, pet_id_seq TO writer")
        connection.execute("GRANT CREATE ON SCHEMA public TO writer")
        connection.execute(
            "CREATE FUNCTION drops() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS "
            "$$ BEGIN DELETE FROM pet; RETURN 1; END $$"
        )
        yield connection


@pytest.fixture
def url(postgres: Postgres, admin: psycopg.Connection) -> str:
    """Of a role that may write and call what it likes: what holds it is the transaction alone."""
    return f"postgresql://writer@/{admin.info.dbname}?host={postgres.folder}"


@pytest.fixture
async def sql(make_settings: MakeSettings, url: str) -> AsyncIterator[Sql]:
    *_, tool = await open_sql(
        make_settings(sql_trust_role=True, sql_url=url, tool_timeout_s=0.5, sql_rows=5)
    )
    assert isinstance(tool, Sql)
    yield tool
    await tool.close()


async def run(sql: Sql, statement: str) -> str:
    return await sql.run(SqlArgs(statement=statement), CONTEXT)


@pytest.mark.parametrize("statement", ["-- SELECT 1", "/* nothing */", ";"])
async def test_no_statement_is_told_from_no_rows(sql: Sql, statement: str) -> None:
    with pytest.raises(ToolError, match="only a statement that gives rows"):
        await run(sql, statement)
    assert "(0 rows)" in await run(sql, "SELECT 1 AS x WHERE false")


async def test_a_statement_gets_its_rows(sql: Sql) -> None:
    output = await run(sql, "SELECT id, name FROM pet WHERE name LIKE '%2' ORDER BY id")
    assert output == "id | name\n2 | pet 2\n(1 row)"
    assert "only the first 5 rows" in await run(sql, "SELECT * FROM generate_series(1, 10000)")


async def test_a_table_is_described(make_settings: MakeSettings, url: str) -> None:
    _, schema, _ = await open_sql(make_settings(sql_trust_role=True, sql_url=url))
    assert isinstance(schema, SqlSchema)
    described = await schema.run(SchemaArgs(table="pet"), CONTEXT)
    assert "name TEXT NOT NULL" in described
    assert "1 | pet 1" in described
    await schema.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM pet",
        "SELECT 1; DELETE FROM pet",
        "SELECT 1; COMMIT; DELETE FROM pet",
        "WITH gone AS (DELETE FROM pet RETURNING *) SELECT * FROM gone",
        "SELECT 1 /* ; */ ; /* */ DROP TABLE pet",
        "SELECT drops()",
        "EXPLAIN ANALYZE DELETE FROM pet",
        "DO $$ BEGIN DELETE FROM pet; END $$",
        "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM pet; END $$",
        "DO $$ BEGIN PERFORM set_config('transaction_read_only', 'off', false); "
        "DELETE FROM pet; END $$",
        "DO $$ BEGIN COMMIT; DELETE FROM pet; END $$",
        "SET TRANSACTION READ WRITE",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT nextval('pet_id_seq')",
        "SELECT setval('pet_id_seq', 1000)",
        "CREATE TEMP TABLE t (x int)",
        "CREATE TABLE t (x int)",
        "SELECT * INTO t FROM pet",
        "SELECT * FROM pet FOR UPDATE",
        "COPY pet TO PROGRAM 'touch /tmp/agentlm-escaped'",
        "COPY pet TO '/tmp/agentlm-escaped'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "LOCK TABLE pet IN ACCESS EXCLUSIVE MODE",
        "VACUUM pet",
        "TRUNCATE pet",
        "LISTEN x",
        "ALTER ROLE writer SET default_transaction_read_only = off",
    ],
)
async def test_writing_is_refused_by_the_database(
    sql: Sql, admin: psycopg.Connection, statement: str
) -> None:
    with pytest.raises(ToolError):
        await run(sql, statement)
    assert "\n9\n" in await run(sql, "SELECT count(*) FROM pet")
    value = admin.execute("SELECT last_value, (SELECT count(*) FROM pet) FROM pet_id_seq")
    assert value.fetchone() == (9, 9)


@pytest.mark.parametrize(
    "statement",
    ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "SET default_transaction_read_only = off"],
)
async def test_ending_the_transaction_early_gains_nothing(sql: Sql, statement: str) -> None:
    with pytest.raises(ToolError):
        await run(sql, statement)
    for _ in range(20):  # whichever connection it was
        with pytest.raises(ToolError, match="read-only"):
            await run(sql, "DELETE FROM pet")


async def test_settings_and_locks_do_not_outlive_the_statement(sql: Sql) -> None:
    await run(sql, "SELECT set_config('search_path', 'nowhere', false)")
    await run(sql, "SELECT pg_advisory_lock(1)")
    assert "\n9\n" in await run(sql, "SELECT count(*) FROM pet")
    assert "\n0\n" in await run(sql, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")


async def test_what_a_read_only_transaction_lets_pass_is_rolled_back(sql: Sql) -> None:
    with suppress(ToolError):  # refused from Postgres 16 on
        await run(sql, "SELECT lo_create(4711)")
    assert "\n0\n" in await run(sql, "SELECT count(*) FROM pg_largeobject_metadata")


async def test_a_long_statement_is_really_stopped(sql: Sql, admin: psycopg.Connection) -> None:
    with pytest.raises(ToolError, match="statement timeout"):
        await run(sql, "SELECT pg_sleep(30)")
    await _nothing_sleeps(admin)


async def test_cancelling_the_call_cancels_the_statement(
    make_settings: MakeSettings, url: str, admin: psycopg.Connection
) -> None:
    *_, tool = await open_sql(make_settings(sql_trust_role=True, sql_url=url))
    assert isinstance(tool, Sql)
    call = asyncio.create_task(run(tool, "SELECT pg_sleep(30)"))
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await _nothing_sleeps(admin)
    await tool.close()


async def _nothing_sleeps(admin: psycopg.Connection) -> None:
    active = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleep(30%'"
    )
    for _ in range(20):
        (count,) = admin.execute(f"{active} AND pid <> pg_backend_pid()").fetchone() or (None,)
        if count == 0:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the statement is still running")


async def test_a_role_that_could_run_programs_is_refused(
    make_settings: MakeSettings, url: str
) -> None:
    with pytest.raises(OperatorError, match=r"too powerful \(.*superuser"):
        await open_sql(make_settings(sql_url=url.replace("writer@", "postgres@")))


@pytest.fixture(scope="module")
def reader_url(postgres: Postgres, admin: psycopg.Connection) -> str:
    """Of the role that the script makes, run twice as after an upgrade."""
    for _ in range(2):
        psql = [postgres.programs / "psql", "-q", "-h", postgres.folder, "-U", "postgres"]
        script = ["-d", admin.info.dbname, "-v", "password=secret", "-f", SCRIPT]
        subprocess.run([*psql, *script], check=True, cwd="/")
    return f"postgresql://agentlm_reader@/{admin.info.dbname}?host={postgres.folder}"


@pytest.fixture
async def reader(make_settings: MakeSettings, reader_url: str) -> AsyncIterator[Sql]:
    *_, tool = await open_sql(make_settings(sql_url=reader_url, tool_timeout_s=5))
    assert isinstance(tool, Sql)
    yield tool
    await tool.close()


async def test_a_role_that_may_call_what_does_more_than_read_is_refused_by_name(
    make_settings: MakeSettings, url: str
) -> None:
    with pytest.raises(OperatorError, match=r"drops, .*postgres-reader\.sql.*sql_trust_role"):
        await open_sql(make_settings(sql_url=url))


@pytest.mark.parametrize("name", ["pg_read_all_stats", "pg_signal_backend"])
async def test_a_role_that_sees_or_ends_others_sessions_is_refused(
    make_settings: MakeSettings, reader_url: str, admin: psycopg.Connection, name: str
) -> None:
    admin.execute(f"GRANT {name} TO agentlm_reader")
    try:
        with pytest.raises(OperatorError, match=rf"too powerful \({name}\)"):
            await open_sql(make_settings(sql_url=reader_url, sql_trust_role=True))
    finally:
        admin.execute(f"REVOKE {name} FROM agentlm_reader")


async def test_the_scripts_role_reads(reader: Sql, make_settings: MakeSettings) -> None:
    assert "\n9\n" in await run(reader, "SELECT count(*) FROM pet")
    assert "id | name" in await run(reader, "TABLE pet")
    tables, schema, _ = await open_sql(make_settings(sql_url=str(reader.settings.sql_url)))
    assert "pet(id, name)" in await tables.run(tables.Args(), CONTEXT)
    assert "1 | pet 1" in await schema.run(SchemaArgs(table="pet"), CONTEXT)
    await tables.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT query FROM pg_stat_activity",
        "SELECT * FROM pg_stat_get_activity(NULL)",
        "SELECT pg_stat_get_backend_activity(n) FROM generate_series(1, 9) n",
        "SELECT * FROM pg_stat_progress_copy",
        "SELECT pg_terminate_backend(pid) FROM pg_locks",
        "SELECT pg_cancel_backend(pg_backend_pid())",
        "SELECT pg_logical_emit_message(false, 'a', 'b')",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
        "SELECT pg_notify('a', 'b')",
        "SELECT pg_export_snapshot()",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT drops()",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_ls_dir('/')",
        "SELECT pg_create_logical_replication_slot('a', 'pgoutput')",
        "DO $$ BEGIN PERFORM pg_terminate_backend(1); END $$",
        "SELECT query_to_xml('SELECT pg_advisory_lock(1)', true, true, '')",
        "SELECT set_config('temp_file_limit', '-1', true)",
    ],
)
async def test_the_scripts_role_does_nothing_else(reader: Sql, statement: str) -> None:
    with pytest.raises(ToolError, match=r"permission denied (for (function|view)|to set)"):
        await run(reader, statement)


async def test_what_the_scripts_role_sorts_does_not_fill_the_disk(reader: Sql) -> None:
    assert "\n1GB\n" in await run(reader, "SHOW temp_file_limit")


def test_what_others_could_call_they_still_can(
    postgres: Postgres, admin: psycopg.Connection, reader_url: str
) -> None:
    address = f"host={postgres.folder} user=writer dbname={admin.info.dbname}"
    with psycopg.connect(address, autocommit=True) as writer:
        writer.execute("SELECT pg_advisory_lock(1), drops() FROM pg_stat_activity LIMIT 0")
        denied = "SELECT pg_read_file('/etc/passwd')"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute(denied)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        *(
            (each, r"only a statement that gives rows .*; COPY, SET, COMMIT and the like are not$")
            for each in (
                *("COPY pet TO STDOUT", "COPY (SELECT 1) TO STDOUT WITH BINARY", "SET x.y = 1"),
                *("COMMIT", "ROLLBACK AND CHAIN", "BEGIN", "PREPARE a AS SELECT 1", "-- nothing"),
                *("DECLARE c CURSOR FOR SELECT 1", "LISTEN x", "SAVEPOINT a", "RESET ALL"),
            )
        ),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "^the connection was ended while the"),
        ("SELECT pg_cancel_backend(pg_backend_pid())", "^canceling statement due to user request$"),
    ],
)
async def test_what_is_no_reading_gets_a_sentence(
    sql: Sql, statement: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(ToolError, match=sentence) as refused:
        await run(sql, statement)

    assert len(str(refused.value).splitlines()) == 1
    assert caplog.records == []
    for _ in range(2):
        assert "\n9\n" in await run(sql, "SELECT count(*) FROM pet")
