"""`Idempotency-Key`: however often a request is sent, it is run once and answered the same."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from agentlm.errors import RequestError
from agentlm.store import Answer, Store

_LONGEST = 255


@dataclass(frozen=True)
class Once:
    """One request that came with a key."""

    store: Store
    owner: str
    key: str
    digest: str

    @classmethod
    def of(cls, store: Store, owner: str, key: str | None, body: Any) -> Once | None:
        """None if the request came without a key. Raises RequestError for an unusable one."""
        if key is None:
            return None
        if not 0 < len(key) <= _LONGEST:
            raise RequestError(f"an Idempotency-Key has 1 to {_LONGEST} characters")
        text = json.dumps(body, sort_keys=True)
        return cls(store, owner, key, hashlib.sha256(text.encode()).hexdigest())

    async def known(self) -> Answer | None:
        """The answer that was given already; None: this request is to give it.

        Raises ConflictError while another one is being answered, and for a key that was used with
        another request.
        """
        return await self.store.requests.begin(self.owner, self.key, self.digest)

    async def abandon(self) -> None:
        """It was not answered: let it be tried again."""
        await asyncio.shield(self.store.requests.abandon(self.owner, self.key))

    async def answer(self, work: Callable[[], Awaitable[str]]) -> str:
        """Do the work and keep its answer; what fails can be tried again with the same key."""
        try:
            body = await work()
        except BaseException:
            await self.abandon()
            raise
        await self.store.requests.end(self.owner, self.key, Answer(200, body))
        return body

    async def stream(self, events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Pass a stream on, and keep it before its last event is sent."""
        sent: list[bytes] = []
        last = b""
        try:
            async with aclosing(events) as source:
                async for event in source:
                    if last:
                        yield last
                    sent.append(event)
                    last = event
        except BaseException:
            await self.abandon()
            raise
        if last.startswith(b"data: [DONE]"):
            body = b"".join(sent).decode()
            await self.store.requests.end(self.owner, self.key, Answer(200, body))
        else:
            await self.abandon()
        yield last
