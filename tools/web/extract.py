"""Readable text out of HTML, in a process that can be killed when a page is a trap."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process

from agentlm.agent import ToolError

_TIMEOUT_S = 10.0
_START_TIMEOUT_S = 30.0
_WORKER = "agentlm.tools.web.extract_worker"


class Extractor:
    """One worker, started when it is first needed and again after it was killed."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def markdown(self, html: bytes, url: str) -> str:
        """The page's text. Raises ToolError if it can't be read in bounded time and memory."""
        async with self._one_at_a_time:
            process = self._process or await self._start()
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    return await _exchange(process, html, url)
            except (TimeoutError, EOFError, ConnectionError) as error:
                await self.close()
                raise ToolError("the page is too hard to read as text") from error
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """End the worker; idempotent."""
        process, self._process = self._process, None
        if process and process.returncode is None:
            process.kill()
            await process.wait()

    async def _start(self) -> Process:
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _WORKER), stdin=PIPE, stdout=PIPE, env=environment
        )
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await _exchange(self._process, b"<p>ready", "http://localhost/")
        except BaseException:
            await self.close()
            raise
        return self._process


async def _exchange(process: Process, html: bytes, url: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    for content in (url.encode(), html):
        process.stdin.write(len(content).to_bytes(4, "big") + content)
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(4), "big")
    return (await process.stdout.readexactly(length)).decode()
