import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from agentlm.errors import UnavailableError
from agentlm.store import Selection, Store
from support.postgres import Postgres
from support.records import chat
from support.victims import append_until_killed, append_with_small_files, fill, started


def test_a_killed_writer_loses_nothing_it_acknowledged(store_url: str) -> None:
    chance = random.Random(7)
    Store.open(store_url).close()
    lengths: dict[str, int] = {}
    for _ in range(20):
        with started(append_until_killed, store_url) as (writer, acknowledged):
            for _ in range(chance.randrange(1, 60)):
                lengths.update([acknowledged.recv()])
            writer.kill()
            lengths.update(_rest(acknowledged))

    store = Store.open(store_url)
    stored = {one.id: len(one.steps) for one in store.select(Selection())}
    assert all(stored[key] >= length for key, length in lengths.items())
    assert set(stored.values()) <= {2, 4}
    store.close()


def _rest(acknowledged: Connection) -> Iterator[tuple[str, int]]:
    """What the killed writer still told."""
    while True:
        try:
            yield acknowledged.recv()
        except (EOFError, OSError):
            return


async def test_concurrent_writes_share_their_commits(store: Store) -> None:
    before = store.commits

    await asyncio.gather(*(store.append(chat()) for _ in range(200)))

    assert store.commits - before <= 10


async def test_closing_commits_what_is_queued(store_url: str) -> None:
    store = Store.open(store_url)
    entries = [chat() for _ in range(20)]
    writes = [asyncio.create_task(store.append(entry)) for entry in entries]
    await asyncio.sleep(0)

    store.close()

    assert await asyncio.gather(*writes) == [None] * 20
    with pytest.raises(UnavailableError, match="closed"):
        await store.append(chat())
    again = Store.open(store_url)
    assert {one.id for one in again.page(None)[0]} == {entry.trajectory.id for entry in entries}
    again.close()


async def test_a_cancelled_caller_does_not_take_its_write_back(store_url: str) -> None:
    store = Store.open(store_url)
    entry = chat()
    write = asyncio.create_task(store.append(entry))
    await asyncio.sleep(0)

    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    store.close()

    again = Store.open(store_url)
    assert again.get(entry.trajectory.id, "ann") is not None
    again.close()


def test_files_that_may_not_grow_fail_writes_until_they_may(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'agentlm.db'}"
    with started(append_with_small_files, url) as (_, report):
        kept, failures, failing = report.recv()

    assert len(failures) == 3
    assert not failing
    store = Store.open(url)
    assert [one.id for one in store.select(Selection())] == kept
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can't be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_fails_writes_until_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    store = Store.open(f"sqlite:///{small_disk / 'agentlm.db'}")
    ballast.write_bytes(b"x" * 1_000_000)

    kept, failures = await fill(store)
    assert all("full" in message for message in failures)
    readable = [one.id for one in store.select(Selection())]
    ballast.unlink()
    await store.probe()
    last = chat()
    await store.append(last)

    assert not store.failing
    assert readable == kept
    assert [one.id for one in store.select(Selection())] == [*kept, last.trajectory.id]
    store.close()


async def test_a_database_that_went_away_is_used_again_when_it_is_back(postgres: Postgres) -> None:
    store = Store.open(postgres.create_database())
    before, meanwhile, after = chat(), chat(), chat(keys=["key"])
    await store.append(before)

    postgres.stop()
    with pytest.raises(UnavailableError):
        await store.append(meanwhile)
    with pytest.raises(UnavailableError):
        store.get(before.trajectory.id, None)
    postgres.restart()
    await store.append(after)

    assert [one.id for one in store.select(Selection())] == [
        before.trajectory.id,
        after.trajectory.id,
    ]
    assert await store.claim("ann", ["key"]) is not None
    store.close()
