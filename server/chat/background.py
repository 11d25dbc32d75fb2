"""Answers in the background: they run on without their request, and are looked up meanwhile.

What such a run has done stands in the log at every moment, so whoever follows it reads it there. A
run that is here is known here, to be cancelled; of a server that died the lease ends soon, and what
was done is kept.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from agentlm.agent.loop import CallEnded
from agentlm.server.chat.chat import Chat
from agentlm.server.chat.choice import Choice
from agentlm.server.models.leases import Leases
from agentlm.trajectory import Outcome

log = logging.getLogger("agentlm.server")

_LOOK_AGAIN_S = 1.0
"""How soon a run that is elsewhere is looked at again."""


class Background:
    """Knows the runs that have no request."""

    def __init__(self, chat: Chat, leases: Leases) -> None:
        self._chat = chat
        self._leases = leases
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._stopping = False

    async def start(self, choice: Choice) -> None:
        """Run a choice; it is in the log when this returns."""
        await choice.announce()
        identity = choice.request.completion_id
        self._news[identity] = asyncio.Event()
        self._runs[identity] = asyncio.create_task(self._run(identity, choice))
        await asyncio.sleep(0)  # a task that never began could not note that it was cancelled

    def runs(self, completion_id: str) -> bool:
        """Whether it runs here, whatever the clock says of its lease."""
        return completion_id in self._runs

    async def cancel(self, completion_id: str) -> None:
        """End a run, if it is here; what was done is in the log then."""
        if (task := self._runs.get(completion_id)) is not None:
            task.cancel()
            await asyncio.wait([task])

    async def changed(self, completion_id: str) -> None:
        """Wait until there may be news of a run."""
        if (event := self._news.get(completion_id)) is None:
            await asyncio.sleep(_LOOK_AGAIN_S)
        else:
            await event.wait()

    async def close(self, wait_s: float) -> None:
        """Let what runs end, or fail it: the server stops."""
        tasks = list(self._runs.values())
        if tasks:
            await asyncio.wait(tasks, timeout=wait_s)
        self._stopping = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, identity: str, choice: Choice) -> None:
        try:
            async with self._leases.held(), aclosing(choice.run()) as events:
                async for event in events:
                    if isinstance(event, CallEnded):
                        self._tell(identity)
        except asyncio.CancelledError:
            if self._stopping:
                choice.transcript.end(Outcome.ERROR, None)
            await self._chat.keep([choice])
        except Exception as error:
            log.error("a response in the background failed", exc_info=error)
            await self._chat.keep([choice])
        finally:
            del self._runs[identity]
            self._news.pop(identity).set()

    def _tell(self, identity: str) -> None:
        """Wake who waits for news."""
        told, self._news[identity] = self._news[identity], asyncio.Event()
        told.set()
