"""Grammars on their way to the engine: tried out beside it, and one at a time for each key.

vLLM compiles grammars on a few threads of its core, which can't be stopped: one that takes ten
minutes delays all others. So a grammar that is new to the engine is first compiled in a process
that can be killed (`grammar_worker`), and is refused if that takes too long. The engine then takes
as long again, so a key has only one such grammar in progress at a time, here and in the engine.
However many a key sends, another key's grammar waits for at most one of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentlm.errors import UnavailableError
from agentlm.scratch import scratch

CPU_S = 6
"""Processor time for one grammar. Most take a hundredth of it, and one that limits strings a
third."""
WALL_S = 60
"""Time for one grammar on a busy machine; one that did not get its processor time in it is not
refused, but to be tried again."""
KNOWN_BYTES = 256 << 20
"""Size of the compiled grammars that are let through at once: half of vLLM's default cache."""
REFUSED_BYTES = 1 << 16
"""Size that a refused one counts for."""
AT_ONCE = max(2, (os.cpu_count() or 1) // 2)
START_S = 60.0
STUCK_S = 30.0
"""A grammar is stuck if it is in progress this long while later requests are served, or if it is
alone, four times as long."""


class GrammarRefused(Exception):
    """The grammar can't be compiled, or not within the limits; the message says why."""


@dataclass(frozen=True)
class Compilation:
    """The result of compiling a grammar."""

    error: str | None
    seconds: float
    bytes: int


@dataclass(eq=False)
class Passage:
    """A constrained request in the engine, until its first token."""

    grammars: Grammars
    turn: asyncio.Lock | None
    """The key's lock, if the engine has to compile for it."""
    seconds: float
    began: float = field(default_factory=time.monotonic)

    def end(self) -> None:
        """The engine has compiled it. Idempotent."""
        self.grammars.under_way.discard(self)
        if self.turn is not None:
            self.turn.release()
        self.turn = None

    def leave(self) -> None:
        """Nobody waits for it any longer, but the engine continues compiling."""
        if self.turn is not None:
            asyncio.get_running_loop().call_later(self.seconds, self.end)
        else:
            self.end()


class Grammars:
    """Lets grammars through to one engine."""

    def __init__(self, vocabulary: str, cpu_s: int = CPU_S, wall_s: int = WALL_S) -> None:
        self.worker = GrammarWorker(vocabulary, cpu_s, wall_s)
        self.under_way: set[Passage] = set()
        self._known: OrderedDict[str, Compilation] = OrderedDict()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._served = 0.0

    async def admit(self, tag: str, owner: str) -> Passage:
        """Wait until the engine may get `tag`. Cancelling the wait ends the attempt.

        Raises GrammarRefused, or UnavailableError if grammars can't be tried out now.
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
        await self.worker.close()

    def served(self, began: float) -> None:
        """A request that came at `began` (`time.monotonic`) has its first token."""
        self._served = max(self._served, began)

    def stuck(self) -> bool:
        """Whether the engine has been compiling one for too long."""
        now = time.monotonic()
        return any(
            now - each.began > (STUCK_S if each.began < self._served else 4 * STUCK_S)
            for each in self.under_way
        )


class GrammarWorker:
    """The process of `grammar_worker`, which is restarted whenever it has ended."""

    def __init__(self, vocabulary: str, cpu_s: int, wall_s: int) -> None:
        self._vocabulary = vocabulary.encode()
        self._cpu_s = cpu_s
        self._wall_s = wall_s
        self.process: Process | None = None
        self._folder = scratch("grammars")
        self._socket = Path(self._folder.name, "socket")
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Start it. It imports for some seconds; requests wait meanwhile."""
        async with self._starting:
            if self.process is not None and self.process.returncode is None:
                return
            self._socket.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(self._socket))
                listening.listen(128)
                self.process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "agentlm.server.vllm.grammar_worker"),
                    *map(str, (listening.fileno(), self._cpu_s, self._wall_s)),
                    stdin=PIPE,
                    pass_fds=[listening.fileno()],
                    start_new_session=True,
                    env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath},
                )
            assert self.process.stdin is not None
            self.process.stdin.write(_frame(self._vocabulary))

    async def ask(self, tag: str) -> dict[str, Any]:
        """Try out a structural tag. Raises UnavailableError if that is impossible now."""
        await self.start()
        try:
            async with asyncio.timeout(START_S + self._wall_s):
                answer = await self._exchange(tag)
        except (OSError, TimeoutError) as error:
            raise UnavailableError("schemas can't be compiled now; try again") from error
        if not answer:
            raise UnavailableError("schemas can't be compiled now; try again")
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    async def _exchange(self, tag: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(_frame(tag.encode()))
            return await reader.read()
        finally:
            writer.close()

    async def close(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self._folder.cleanup()


def _frame(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content
