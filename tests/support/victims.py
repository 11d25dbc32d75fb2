"""What runs in another process so that the process can be killed or starved."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from agentlm.errors import UnavailableError
from agentlm.store import Store
from support.processes import PROCESSES
from support.records import chat, follow_up


@contextmanager
def started(
    target: Callable[[str, Connection], None], url: str
) -> Iterator[tuple[BaseProcess, Connection]]:
    """A process that runs `target`, and what it reports; joined in the end."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=target, args=(url, sender))
    process.start()
    sender.close()
    yield process, receiver
    process.join()
    process.close()
    receiver.close()


def append_until_killed(url: str, acknowledged: Connection) -> None:
    """Have eight clients append all the time; tell each trajectory and how long it now is."""

    async def client(store: Store) -> None:
        while True:
            entry = chat(keys=["same"])
            await store.append(entry)
            acknowledged.send((entry.trajectory.id, 2))
            await store.append(follow_up(entry))
            acknowledged.send((entry.trajectory.id, 4))

    async def clients() -> None:
        store = Store.open(url)
        await asyncio.gather(*(client(store) for _ in range(8)))

    asyncio.run(clients())


def append_with_small_files(url: str, report: Connection) -> None:
    """Append until files may not grow, then let them grow again; tell what was acknowledged."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def run() -> tuple[list[str], list[str], bool]:
        store = Store.open(url)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        kept, failures = await fill(store)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await store.probe()
        last = chat()
        await store.append(last)
        store.close()
        return [*kept, last.trajectory.id], failures, store.failing

    report.send(asyncio.run(run()))


async def fill(store: Store) -> tuple[list[str], list[str]]:
    """Append until three writes failed; the ids that were kept, and what the failures said."""
    kept: list[str] = []
    failures: list[str] = []
    while len(failures) < 3:
        entry = chat(ids=range(2000))
        try:
            await store.append(entry)
        except UnavailableError as error:
            failures.append(str(error))
            assert store.failing
        else:
            kept.append(entry.trajectory.id)
    return kept, failures


def open_as_nobody(url: str, report: Connection) -> None:
    """Open a log with the rights of a user who owns nothing."""
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        Store.open(url).close()
        report.send(None)
    except Exception as error:  # noqa: BLE001
        report.send(error)
