"""Answer a chat request, whole or as a stream of server-sent events.

A choice is *answered* when the client gets its `finish_reason`, which is after the commit. If a
client disconnects, generation and tools are cancelled, and the partial trajectory is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from agentlm.engine.protocol import TokenLogprob
from agentlm.errors import UnavailableError
from agentlm.server.chat.choice import Choice
from agentlm.server.chat.request import History, Request, RequestReader
from agentlm.server.chat.stream import cancel_all, exhaust
from agentlm.server.conversation.beginning import Beginning
from agentlm.server.metrics import Metrics
from agentlm.server.models.served import ServedModels
from agentlm.server.openai.chat_request import ChatRequest
from agentlm.server.settings import ServeSettings
from agentlm.store import ApiKey, Store
from agentlm.tools.toolbox import Toolbox
from agentlm.trajectory import Outcome

log = logging.getLogger("agentlm.server")


@dataclass
class Chat:
    """Answers chat requests. There is one for the life of the server."""

    settings: ServeSettings
    models: ServedModels
    store: Store
    toolbox: Toolbox
    metrics: Metrics
    background: set[asyncio.Task[None]] = field(default_factory=set)
    """Commits of cancelled runs that are still in progress; shutdown waits for them."""

    async def prepare(
        self,
        body: ChatRequest,
        caller: ApiKey,
        history: History | None = None,
    ) -> list[Choice]:
        """Read a request and find where its choices begin. Raises RequestError.

        `history` replaces the body's messages.

        Raises UnavailableError while the log fails, so that nothing is generated that can't be
        answered.
        """
        reader = RequestReader(self.settings, self.models, self.toolbox)
        request = reader.read(body, caller, history)
        await self.store.ready()
        choices = [
            Choice(request, index, self.store, self.metrics, await self._begin(request))
            for index in range(body.n)
        ]
        if body.prompt_logprobs is not None:
            choices[0].scored = await self._score(choices[0], body.prompt_logprobs)
        return choices

    async def count(self, body: ChatRequest, caller: ApiKey, history: History) -> int:
        """Number of tokens of a request's prompt. Raises RequestError."""
        reader = RequestReader(self.settings, self.models, self.toolbox)
        request = reader.read(body, caller, history)
        self.models.find_own(request.served.name)
        beginning = await request.served.begin(
            self.store, replace(request.conversation, take=False)
        )
        return sum(len(step.token_ids or ()) for step in beginning.steps)

    async def _score(self, choice: Choice, top: int) -> Sequence[Sequence[TokenLogprob]]:
        served = self.models.find_own(choice.request.served.name)
        return await served.engine.score(
            choice.prompt_ids(),
            top_logprobs=top,
            adapter=served.adapter,
            salt=choice.request.owner,
        )

    async def _begin(self, request: Request) -> Beginning:
        return await request.served.begin(self.store, request.conversation)

    async def run(self, choices: Sequence[Choice]) -> None:
        """Run all choices to their end. They are in the log then, even if they failed."""
        tasks = [asyncio.ensure_future(exhaust(choice)) for choice in choices]
        try:
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            self._keep_in_background(choices)
            raise
        except Exception:
            await cancel_all(tasks)
            await self.keep(choices)
            raise

    async def stream(
        self, choices: Sequence[Choice], events: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        """Pass on `events`, which run all choices. Closing the generator cancels them.

        They are in the log then, even if they failed.
        """
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
        except Exception:
            await self.keep(choices)
            raise
        except BaseException:
            self._keep_in_background(choices)
            raise

    async def keep(self, choices: Sequence[Choice]) -> None:
        """Record what an interrupted request has done, as far as the log accepts it."""
        for choice in choices:
            if choice.transcript.finish_reason is None:
                if choice.transcript.outcome is Outcome.RUNNING:
                    choice.transcript.end(Outcome.CANCELLED, None)
                try:
                    await choice.record()
                except UnavailableError as error:
                    self.metrics.losses.inc()
                    log.error("how %s ended is not in the log: %s", choice.trajectory.id, error)

    def _keep_in_background(self, choices: Sequence[Choice]) -> None:
        # The cancelled task can't await any more.
        task = asyncio.create_task(self.keep(choices))
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def drain(self) -> None:
        """Wait until interrupted runs are in the log."""
        await asyncio.gather(*self.background, return_exceptions=True)
