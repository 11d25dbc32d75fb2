"""An asynchronous context manager in a thread of its own, for tests that block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def in_background(manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter `manager` on another thread's event loop; leave it at the end."""
    entered: Future[tuple[T, Callable[[], object]]] = Future()
    thread = Thread(target=lambda: asyncio.run(_live(manager, entered)))
    thread.start()
    try:
        value, leave = entered.result()
        try:
            yield value
        finally:
            leave()
    finally:
        thread.join()


async def _live(
    manager: AbstractAsyncContextManager[T], entered: Future[tuple[T, Callable[[], object]]]
) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    try:
        async with manager as value:
            entered.set_result((value, lambda: loop.call_soon_threadsafe(done.set)))
            await done.wait()
    except BaseException as error:
        if entered.done():
            raise
        entered.set_exception(error)
