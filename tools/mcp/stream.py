"""A stream of messages that are inspected before they are delivered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import anyio
from mcp.shared.message import SessionMessage

Item = SessionMessage | Exception
Look = Callable[[Item], Awaitable[Item | None]]


class Watched:
    """Delivers what `look` returns for each item; None is skipped."""

    def __init__(self, inner: Any, look: Look) -> None:
        self._inner = inner
        self._look = look

    @property
    def last_context(self) -> Any:
        """The context of the last item's sender, if the stream knows it."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Item:
        while True:
            if (item := await self._look(await self._inner.receive())) is not None:
                return item

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Watched:
        return self

    async def __anext__(self) -> Item:
        try:
            return await self.receive()
        except anyio.EndOfStream as error:
            raise StopAsyncIteration from error

    async def __aenter__(self) -> Watched:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.aclose()
