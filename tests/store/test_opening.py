import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from agentlm.errors import OperatorError
from agentlm.store import Store
from agentlm.store.database import open_database
from agentlm.store.migrations import HEAD
from agentlm.store.tables import METADATA
from support.records import chat
from support.victims import open_as_nobody, started


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nonsense", "not the address of a database"),
        ("mysql://host/db", "sqlite:///FILE"),
        ("sqlite://", "sqlite:///FILE"),
        ("sqlite:///:memory:", "sqlite:///FILE"),
        ("sqlite:////no/such/place/agentlm.db", "no such directory"),
        ("sqlite:////etc", "can't be opened"),
        ("postgresql+psycopg://ann:secret@127.0.0.1:1/log", "can't be opened"),
    ],
)
def test_an_address_that_can_not_be_opened_is_one_clear_line(url: str, expected: str) -> None:
    with pytest.raises(OperatorError) as failed:
        Store.open(url)

    message = str(failed.value)
    assert expected in message
    assert "\n" not in message
    assert "secret" not in message


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "agentlm.db"
    file.write_text("not a database " * 100)

    with pytest.raises(OperatorError, match="not a database"):
        Store.open(f"sqlite:///{file}")


def test_a_log_that_can_not_be_written_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/agentlm.db"
        Store.open(url).close()
        Path(folder).chmod(0o555)
        Path(folder, "agentlm.db").chmod(0o444)
        with started(open_as_nobody, url) as (_, report):
            error = report.recv()
        Path(folder).chmod(0o755)

    assert isinstance(error, OperatorError)
    assert "can't be opened" in str(error)


def test_a_log_of_a_newer_schema_is_refused(store_url: str) -> None:
    database = open_database(store_url)
    with database.writer.begin() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()

    with pytest.raises(OperatorError, match=f"has schema 9999, this program knows {HEAD}"):
        Store.open(store_url)


async def test_a_log_is_still_there_when_it_is_opened_again(store_url: str) -> None:
    entry = chat()
    first = Store.open(store_url)
    await first.append(entry)
    first.close()
    first.close()

    second = Store.open(store_url)
    read = second.get(entry.trajectory.id, "ann")
    second.close()

    assert read is not None
    assert read.steps == entry.steps


def test_processes_that_open_a_new_log_at_once_migrate_it_once(store_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(Store.open, [store_url] * 4))

    for store in stores:
        assert store.page(None) == ([], False)
        store.close()


def test_new_logs_in_sqlite_are_switched_to_wal_by_one_of_many(tmp_path: Path) -> None:
    """The switch fails at once where another connection is at it, so many are tried."""
    addresses = [f"sqlite:///{tmp_path / f'{number // 4}.db'}" for number in range(80)]

    with ThreadPoolExecutor(4) as pool:
        for store in pool.map(Store.open, addresses):
            store.close()


def test_the_migrations_lead_to_the_tables(store_url: str) -> None:
    database = open_database(store_url)
    with database.reader.begin() as db:
        assert compare_metadata(MigrationContext.configure(db), METADATA) == []
    database.close()


def test_the_newest_migration_is_the_one_that_is_opened() -> None:
    config = Config()
    config.set_main_option("script_location", "agentlm.store:migrations")

    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_sqlite_waits_for_the_disk_at_every_commit(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'agentlm.db'}")

    with database.writer.begin() as db:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        found = [db.scalar(text(f"PRAGMA {pragma}")) for pragma in pragmas]

    assert found == ["wal", 2, 1]
    database.close()
