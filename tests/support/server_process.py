"""Servers in processes of their own, to be killed or starved."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from support.processes import PROCESSES
from support.serving import Running, running


@contextmanager
def started(directory: Path, **options: Any) -> Iterator[tuple[BaseProcess, str]]:
    """A server with rules for a model, and its URL; killed in the end if it still runs.

    Beside the options of `serving.running`: `open_files` is its first limit of these; its files may
    grow to `file_bytes` until it is sent SIGUSR1.
    """
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_serve, args=(directory, options, sender))
    process.start()
    sender.close()
    try:
        yield process, receiver.recv()
    finally:
        process.kill()
        process.join()
        process.close()
        receiver.close()


def _serve(directory: Path, options: dict[str, Any], ready: Connection) -> None:
    if (files := options.pop("open_files", None)) is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard(resource.RLIMIT_NOFILE)))
    if (size := options.pop("file_bytes", None)) is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, _let_files_grow)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard(resource.RLIMIT_FSIZE)))
    asyncio.run(_until_stopped(directory, options, ready))


async def _until_stopped(directory: Path, options: dict[str, Any], ready: Connection) -> None:
    rules = Rules()
    async with running(directory, rules, "chatml", options) as server:
        rules.play(server)
        ready.send(server.url)
        await server.stopped


def hard(limit: int) -> int:
    """What a limit may be raised to."""
    return resource.getrlimit(limit)[1]


def _let_files_grow(*_: object) -> None:
    most = hard(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


class Rules:
    """A model that calls bash once if it may, and then answers; a script without an end."""

    CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
    ANSWER = "Done."

    def play(self, server: Running) -> None:
        """To be called before the first request."""
        self._engine, self._decode = server.engine, server.served.renderer.decode

    def __iter__(self) -> Iterator[str]:
        while True:
            asked = self._engine.requests.pop()
            if not asked.constraint:
                yield self.ANSWER
            elif "Observation: <data>\nran" in self._decode(asked.prompt_ids[-40:]):
                yield f"Thought: I saw it.\nFinal Answer: {self.ANSWER}"
            else:
                yield self.CALL
