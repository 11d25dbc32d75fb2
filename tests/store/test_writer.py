"""The writer, below the store."""

import asyncio
import threading

from sqlalchemy import Connection, text

from agentlm.store import Store
from agentlm.store.database import open_database
from agentlm.store.write.writer import Writer
from support.postgres import Postgres
from support.records import chat


async def test_a_write_that_ends_a_deadlock_is_done_again(postgres: Postgres) -> None:
    url = postgres.create_database()
    store = Store.open(url)
    entries = [chat(), chat()]
    await asyncio.gather(*map(store.append, entries))
    first, second = (entry.trajectory.id for entry in entries)
    database = open_database(url)
    writers = [Writer(database.writer), Writer(database.writer)]
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def touch(db: Connection, key: str) -> None:
        db.execute(text("UPDATE trajectory SET reward = 1 WHERE id = :key"), {"key": key})

    def crossing(db: Connection, one: str, other: str) -> None:
        touch(db, one)
        tries.append(one)
        if len(tries) <= 2:
            both_hold_one.wait(timeout=10)
        touch(db, other)

    await asyncio.gather(
        writers[0].run(lambda db: crossing(db, first, second)),
        writers[1].run(lambda db: crossing(db, second, first)),
    )

    assert len(tries) > 2
    assert [header.reward for header in store.page(None)[0]] == [1.0, 1.0]
    for writer in writers:
        writer.close()
    database.close()
    store.close()


async def test_a_mistake_in_a_write_does_not_end_the_writer(store: Store) -> None:
    writer = store._writer

    def mistaken(db: Connection) -> None:
        raise KeyError("a mistake")

    results = await asyncio.gather(
        writer.run(mistaken), store.append(chat()), return_exceptions=True
    )

    assert isinstance(results[0], KeyError)
    assert results[1] is None
    await store.append(chat())
