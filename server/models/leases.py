"""Keep weights unchanged while requests use them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Leases:
    """Counts the users of the weights.

    Weights are replaced between requests: running ones end first, new ones wait. So every run keeps
    the version that it began with. If it takes longer than `drain_s`, its next turns use the new
    weights, and the log records that.
    """

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self._held = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = asyncio.Event()
        self._open.set()
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Wraps a request. Waits while weights are replaced."""
        await self._open.wait()
        self._held += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._held -= 1
            if not self._held:
                self._idle.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Wraps the replacement of the weights."""
        async with self._alone:
            self._open.clear()
            try:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._idle.wait(), self._drain_s)
                yield
            finally:
                self._open.set()
