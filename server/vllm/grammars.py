"""Grammars on their way to the engine: tried out beside it, and a key's one after the other.

vLLM compiles grammars on a few threads of its core, which nothing can stop: one that takes ten
minutes keeps all others waiting. So each grammar that the engine has not met is compiled first in a
process that can be killed (`grammar_worker`), and refused if that takes too long. As the engine
takes as long again, a key has one such grammar under way at a time, here and in the engine: however
many it sends, another key's waits for one of them at most.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentlm.errors import UnavailableError
from agentlm.server.vllm.grammar_worker import WALL_S

CPU_S = 6
"""Processor time that a grammar may take; most take a hundredth of it, and one that bounds strings
a third."""
KNOWN_BYTES = 256 << 20
"""Compiled grammars that are let through at once: half of those that vLLM keeps by default."""
REFUSED_BYTES = 1 << 16
"""What a refused one counts."""
AT_ONCE = max(2, (os.cpu_count() or 1) // 2)
START_S = 60.0
STUCK_S = 30.0
"""A grammar that is under way for so long while requests that came later are served is stuck;
alone, one that is for four times as long."""


class GrammarRefused(Exception):
    """It can't be compiled, or not within bounds; the text says why."""


@dataclass(frozen=True)
class Compilation:
    """How a grammar compiled."""

    error: str | None
    seconds: float
    bytes: int


@dataclass(eq=False)
class Passage:
    """A constrained request in the engine, until its first token."""

    grammars: Grammars
    turn: asyncio.Lock | None
    """The key's, if the engine has to compile for it."""
    seconds: float
    began: float = field(default_factory=time.monotonic)

    def end(self) -> None:
        """The engine has compiled it. Idempotent."""
        self.grammars.under_way.discard(self)
        if self.turn is not None:
            self.turn.release()
        self.turn = None

    def leave(self) -> None:
        """Nobody waits for it any longer; the engine compiles on all the same."""
        if self.turn is not None:
            asyncio.get_running_loop().call_later(self.seconds, self.end)
        else:
            self.end()


class Grammars:
    """Lets grammars through to one engine."""

    def __init__(self, vocabulary: str, cpu_s: int = CPU_S) -> None:
        self.worker = GrammarWorker(vocabulary, cpu_s)
        self.under_way: set[Passage] = set()
        self._known: OrderedDict[str, Compilation] = OrderedDict()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._served = 0.0

    async def admit(self, tag: str, owner: str) -> Passage:
        """Wait until the engine may be given `tag`. Who stops waiting ends the try.

        Raises GrammarRefused, and UnavailableError if grammars can't be tried out now.
        """
        digest = hashlib.sha256(tag.encode()).hexdigest()
        turn = None
        if digest not in self._known:
            turn = self._turns[owner]
            await turn.acquire()
        try:
            verdict = await self._verdict(digest, tag)
        except BaseException:
            if turn is not None:
                turn.release()
            raise
        passage = Passage(self, turn, verdict.seconds)
        self.under_way.add(passage)
        return passage

    async def _verdict(self, digest: str, tag: str) -> Compilation:
        if digest not in self._known:
            async with self._at_once:
                answer = await self.worker.ask(tag)
            size = max(REFUSED_BYTES, answer.get("bytes", 0))
            verdict = Compilation(answer.get("error"), answer.get("seconds", 0.0), size)
            self._known[digest] = verdict
            while sum(each.bytes for each in self._known.values()) > KNOWN_BYTES:
                self._known.popitem(last=False)
        else:
            verdict = self._known[digest]
            self._known.move_to_end(digest)
        if verdict.error is not None:
            raise GrammarRefused(verdict.error)
        return verdict

    async def close(self) -> None:
        """End the process."""
        await self.worker.close()

    def served(self, began: float) -> None:
        """A request that came then (`time.monotonic`) has its first token."""
        self._served = max(self._served, began)

    def stuck(self) -> bool:
        """Whether the engine compiles one for too long."""
        now = time.monotonic()
        return any(
            now - each.began > (STUCK_S if each.began < self._served else 4 * STUCK_S)
            for each in self.under_way
        )


class GrammarWorker:
    """The process of `grammar_worker`, started again whenever it is gone."""

    def __init__(self, vocabulary: str, cpu_s: int) -> None:
        self._vocabulary = vocabulary.encode()
        self._cpu_s = cpu_s
        self.process: Process | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="agentlm-grammars-"))
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Have it run; it imports for some seconds, and meanwhile questions wait."""
        async with self._starting:
            if self.process is not None and self.process.returncode is None:
                return
            path = self._folder / "socket"
            path.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path))
                listening.listen(128)
                self.process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "agentlm.server.vllm.grammar_worker"),
                    *(str(listening.fileno()), str(self._cpu_s)),
                    stdin=PIPE,
                    pass_fds=[listening.fileno()],
                    start_new_session=True,
                    env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath},
                )
            assert self.process.stdin is not None
            self.process.stdin.write(_frame(self._vocabulary))

    async def ask(self, tag: str) -> dict[str, Any]:
        """How a structural tag compiles. Raises UnavailableError if it can't be tried out."""
        await self.start()
        try:
            async with asyncio.timeout(START_S + WALL_S):
                answer = await self._exchange(tag)
        except (OSError, TimeoutError) as error:
            raise UnavailableError("schemas can't be compiled now; try again") from error
        if not answer:
            raise UnavailableError("the process that compiles schemas ended; try again")
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    async def _exchange(self, tag: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._folder / "socket")
        try:
            writer.write(_frame(tag.encode()))
            return await reader.read()
        finally:
            writer.close()

    async def close(self) -> None:
        """End it."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _frame(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content
