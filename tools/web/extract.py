"""Readable text out of HTML, in a process that can be killed when a page is a trap."""

from __future__ import annotations

import json

from agentlm.agent.tool import ToolError
from agentlm.tools.confinement.worker import Worker, WorkerStopped

_TIMEOUT_S = 10.0


class Extractor:
    """One worker, started when it is first needed and again after it was killed."""

    def __init__(self) -> None:
        self._worker = Worker("agentlm.tools.web.extract_worker")

    async def markdown(self, html: bytes, url: str, charset: str | None = None) -> str:
        """The page's text. Raises ToolError if it can't be read in bounded time and memory.

        `charset`: what the header of its response says.
        """
        about = json.dumps({"url": url, "charset": charset}).encode()
        try:
            return (await self._worker.ask(about + b"\n" + html, _TIMEOUT_S)).decode()
        except WorkerStopped as error:
            raise ToolError("the page is too hard to read as text") from error

    async def close(self) -> None:
        """End the worker."""
        await self._worker.close()
