"""`Idempotency-Key`: a request that is sent repeatedly runs once and gets the same answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from typing import Any

from agentlm.errors import RequestError
from agentlm.server.chat.choice import Choice
from agentlm.server.chat.request import Request
from agentlm.server.openai.answers import DONE
from agentlm.server.openai.ids import completion_of
from agentlm.store import Answer, KeptAnswer, Store

_LONGEST = 255
_ANSWER_ID = re.compile(r"\b(?:chatcmpl-|resp_)\w+")


@dataclass(frozen=True)
class Once:
    """One request with a key."""

    store: Store
    owner: str
    key: str
    digest: str

    @classmethod
    def of(cls, store: Store, owner: str, key: str | None, body: Any) -> Once | None:
        """None if the request has no key. Raises RequestError for an unusable one."""
        if key is None:
            return None
        if not 0 < len(key) <= _LONGEST:
            raise RequestError(f"an Idempotency-Key has 1 to {_LONGEST} characters")
        text = json.dumps(body, sort_keys=True)
        return cls(store, owner, key, hashlib.sha256(text.encode()).hexdigest())

    async def known(self) -> Answer | None:
        """The earlier answer; None: this request has to produce it.

        Raises ConflictError while another one is being answered, for a key that was used with
        another request, and if the answer was not kept.
        """
        return await self.store.requests.begin(self.owner, self.key, self.digest)

    async def trajectories(self, answer: Answer) -> str:
        """The trajectories of an earlier answer, in the form of its header."""
        identity = completion_of(self.answer_id(answer))
        interactions = await asyncio.to_thread(self.store.by_completion, identity, self.owner)
        return ",".join(interaction.trajectory_id for interaction in interactions)

    async def abandon(self) -> None:
        """Allow another attempt, since it was not answered."""
        await asyncio.shield(self.store.requests.abandon(self.owner, self.key))

    async def answer(
        self,
        run: Callable[[], Awaitable[None]],
        choices: Sequence[Choice],
        spell: Callable[[], str],
    ) -> str:
        """Run the choices and keep the text of `spell`. If it fails, it can be tried again."""
        body = cache(spell)
        self._keep_with(choices, body)
        try:
            await run()
        except BaseException:
            await self.abandon()
            raise
        if len(choices) > 1:
            await self.store.requests.end(self._kept(choices[0].request, body()))
        return body()

    def keep_at_once(self, choice: Choice, spell: Callable[[], str]) -> None:
        """Keep the text of `spell` as the answer from the moment the choice is announced."""
        self._keep_with([choice], spell)

    def answer_id(self, answer: Answer) -> str:
        """The id of an earlier answer."""
        match = _ANSWER_ID.search(answer.body or "")
        assert match is not None
        return match[0]

    async def stream(
        self,
        events: AsyncGenerator[bytes, None],
        choices: Sequence[Choice],
        end: Callable[[], bytes],
    ) -> AsyncGenerator[bytes, None]:
        """Pass on a stream, and keep it before its last event is sent.

        `end` returns the rest of the stream once a single choice has ended.
        """
        sent: list[bytes] = []
        self._keep_with(choices, lambda: (b"".join(sent) + end()).decode())
        try:
            async with aclosing(events) as source:
                async for event in source:
                    sent.append(event)
                    if event == DONE and len(choices) > 1:
                        whole = self._kept(choices[0].request, b"".join(sent).decode())
                        await self.store.requests.end(whole)
                    yield event
        except BaseException:
            await self.abandon()
            raise

    def _keep_with(self, choices: Sequence[Choice], body: Callable[[], str]) -> None:
        """Commit the answer with the choice that ends it.

        Among several choices none knows that it is the last, so their answer is a separate commit.
        They have no tools whose effects could be doubled.
        """
        if len(choices) == 1:
            choices[0].kept = lambda: self._kept(choices[0].request, body())

    def _kept(self, request: Request, body: str) -> KeptAnswer:
        answer = Answer(200, body if request.keep else None)
        return KeptAnswer(self.owner, self.key, answer, request.created)
