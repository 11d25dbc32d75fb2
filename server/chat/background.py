"""Answers in the background: they run on without their request, and clients poll for them.

The log has the state of such a run at every moment, and followers read it there. The runs of this
server can be cancelled here. After a crash of a server, the lease of its runs ends soon, and what
they did is kept.
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
"""Interval between looks at a run that another server may have."""


class Background:
    """The runs without a request."""

    def __init__(self, chat: Chat, leases: Leases) -> None:
        self._chat = chat
        self._leases = leases
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._stopping = False

    async def start(self, choice: Choice) -> None:
        """Run a choice. It is in the log when this returns."""
        await choice.announce()
        identity = choice.request.completion_id
        self._news[identity] = asyncio.Event()
        self._runs[identity] = asyncio.create_task(self._run(identity, choice))
        await asyncio.sleep(0)  # a task that never began could not record its cancellation

    def runs(self, completion_id: str) -> bool:
        """Whether it runs here, whatever the state of its lease."""
        return completion_id in self._runs

    async def cancel(self, completion_id: str) -> None:
        """End a run if it is here. Its state is then in the log."""
        if (task := self._runs.get(completion_id)) is not None:
            task.cancel()
            await asyncio.wait([task])

    async def changed(self, completion_id: str) -> None:
        """Wait until a run may have changed."""
        if (event := self._news.get(completion_id)) is None:
            await asyncio.sleep(_LOOK_AGAIN_S)
        else:
            await event.wait()

    async def close(self, wait_s: float) -> None:
        """Let runs end, or fail them after `wait_s`, since the server stops."""
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
        """Wake those who wait for a change."""
        event, self._news[identity] = self._news[identity], asyncio.Event()
        event.set()
