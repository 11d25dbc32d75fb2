"""A thread for each world, so that blocking code in it blocks nothing else.

Threads can't be killed, so these are daemons: one that hangs is left behind, and the program ends
without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs one thing after another, always in the same thread, as some libraries require."""

    def __init__(self) -> None:
        self._started_jobs = self._done = 0
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        Thread(target=self._work, daemon=True, name="world").start()

    @property
    def stuck(self) -> bool:
        """Whether something is still running, even if nobody waits for it any more."""
        return self._started_jobs != self._done

    async def run(self, work: Callable[[], T]) -> T:
        """The result or exception of `work`. Even what would end a program is an ordinary error."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            settle: Callable[[], None]
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  a world's sys.exit() ends no rollout
                settle = _unless_done(done, done.set_exception, _ordinary(error))
            else:
                settle = _unless_done(done, done.set_result, result)
            self._done += 1
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle)

        self._started_jobs += 1
        self._jobs.put(job)
        return await done

    def close(self, last: Callable[[], object] = lambda: None) -> None:
        """End the thread once all its work and then `last` are done; nobody waits for that."""
        self._jobs.put(last)
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with suppress(Exception):  # jobs report their own errors, and nobody waits for `last`
                job()


def _unless_done(
    future: asyncio.Future[Any], settle: Callable[[Any], None], value: Any
) -> Callable[[], None]:
    return lambda: None if future.done() else settle(value)


def _ordinary(error: BaseException) -> Exception:
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
