"""A process that does one thing for the server, and can be killed if it does not return."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress

_START_TIMEOUT_S = 30.0


class WorkerStopped(Exception):
    """It took too long or ended. The next question starts it again."""


class _Ended(Exception):
    """The process ended instead of answering."""


class Worker:
    """A module run as a process that answers frames (`inside.answer_frames`), one at a time.

    Its first answer, to an empty frame, says that it is ready.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, question: bytes, timeout_s: float) -> bytes:
        """The answer. Raises WorkerStopped. Cancelling the caller kills the process, too.

        A process can end because of an earlier question: memory and deep structures are freed late.
        So the question is repeated once to a fresh process.
        """
        async with self._one_at_a_time:
            try:
                if self._process:
                    with suppress(_Ended):
                        return await self._answer(question, timeout_s)
                return await self._answer(question, timeout_s)
            except _Ended as error:
                raise WorkerStopped(str(error)) from error

    async def _answer(self, question: bytes, timeout_s: float) -> bytes:
        """Raises _Ended if the process ended, WorkerStopped if it takes too long."""
        try:
            process = self._process or await self._start()
            async with asyncio.timeout(timeout_s):
                return await _exchange(process, question)
        except BaseException as error:
            await self.close()
            if isinstance(error, EOFError | ConnectionError):
                raise _Ended(str(error) or type(error).__name__) from error
            if isinstance(error, TimeoutError):
                raise WorkerStopped("it took too long") from error
            raise

    async def close(self) -> None:
        """End it; idempotent."""
        process, self._process = self._process, None
        if process:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _start(self) -> Process:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath},
        )
        async with asyncio.timeout(_START_TIMEOUT_S):
            await _exchange(process, b"")
        return process


class WorkerPool:
    """Workers of one kind. There are only as many as there are simultaneous questions."""

    def __init__(self, count: int, module: str, *arguments: str) -> None:
        self._workers = [Worker(module, *arguments) for _ in range(count)]
        self._free = list(self._workers)
        self._turns = asyncio.Semaphore(count)  # the longest waiting caller is next

    async def ask(self, question: bytes, timeout_s: float) -> bytes:
        """The answer of a free worker, preferably the one used last. See `Worker`."""
        async with self._turns:
            worker = self._free.pop()
            try:
                return await worker.ask(question, timeout_s)
            finally:
                self._free.append(worker)

    async def close(self) -> None:
        """End them all."""
        for worker in self._workers:
            await worker.close()


async def _exchange(process: Process, question: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(len(question).to_bytes(4, "big") + question)
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(4), "big")
    return await process.stdout.readexactly(length)
