"""The process that tries out grammars before the engine compiles them, each in its own fork.

It imports xgrammar once, which takes seconds, and then takes requests over a socket, one connection
for each grammar. A fork (milliseconds) compiles the grammar and decodes a few tokens with it.
Whatever a schema makes xgrammar do, only that fork does it. The fork is killed when its time or
memory is used up, or when the client of the connection goes. An answer is JSON: `{"seconds": …,
"bytes": …}` of the compiled grammar, or `{"error": …}`. There is none if the machine was so busy
that the fork did not get its processor time, which says nothing about the grammar.
"""

from __future__ import annotations

import json
import os
import random
import resource
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

MEMORY_BYTES = 2 << 30
TOKENS = 32
"""Tokens decoded with a grammar: some compile quickly and are slow at each token."""


def main() -> None:
    """Serve the inherited socket until standard input ends.

    Arguments: its descriptor, and the seconds of processor time and of any time that a grammar may
    take.
    """
    import xgrammar

    vocabulary = xgrammar.TokenizerInfo.deserialize_json(read_frame(sys.stdin.fileno()).decode())
    descriptor, cpu_s, wall_s = map(int, sys.argv[1:])
    Forks(socket.socket(fileno=descriptor), vocabulary, cpu_s, wall_s).run()


@dataclass(frozen=True)
class Fork:
    """A grammar that is being compiled, and the connection that waits for it."""

    asker: socket.socket
    process: int
    pidfd: int
    until: float


class Forks:
    """Answers by forks. This process itself compiles nothing, so it always responds."""

    def __init__(self, listening: socket.socket, vocabulary: Any, cpu_s: int, wall_s: int) -> None:
        self._listening = listening
        self._vocabulary = vocabulary
        self._cpu_s = cpu_s
        self._wall_s = wall_s
        self._running: list[Fork] = []
        self._events = selectors.DefaultSelector()
        self._events.register(listening, selectors.EVENT_READ)
        self._events.register(sys.stdin, selectors.EVENT_READ)

    def run(self) -> None:
        """Run until standard input ends, which happens in every case when the server ends."""
        while True:
            for key, _ in self._events.select(1.0 if self._running else None):
                if key.fileobj is sys.stdin:
                    return self._end()
                if key.fileobj is self._listening:
                    self._begin(self._listening.accept()[0])
                elif key.data in self._running:
                    self._finish(key.data)
            for fork in [each for each in self._running if each.until < time.monotonic()]:
                self._finish(fork)

    def _begin(self, asker: socket.socket) -> None:
        with suppress(OSError):
            question = read_frame(asker.fileno())
            if (process := os.fork()) == 0:
                self._compile_and_exit(asker, question.decode())
            fork = Fork(asker, process, os.pidfd_open(process), time.monotonic() + self._wall_s)
            self._running.append(fork)
            self._events.register(fork.pidfd, selectors.EVENT_READ, fork)
            # The client has nothing more to send: it can only hang up.
            self._events.register(asker, selectors.EVENT_READ, fork)

    def _finish(self, fork: Fork) -> None:
        """It has ended, its client has gone, or its time is over."""
        self._running.remove(fork)
        for watched in (fork.pidfd, fork.asker):
            self._events.unregister(watched)
        with suppress(ProcessLookupError):
            os.kill(fork.process, signal.SIGKILL)
        status = os.waitpid(fork.process, 0)[1]
        failed = os.WIFSIGNALED(status) or os.WEXITSTATUS(status)
        if failed and time.monotonic() < fork.until:
            error = (
                f"it takes more than {self._cpu_s} seconds or {MEMORY_BYTES >> 30} GiB to compile"
            )
            with suppress(OSError):
                fork.asker.sendall(json.dumps({"error": error}).encode())
        os.close(fork.pidfd)
        fork.asker.close()

    def _compile_and_exit(self, asker: socket.socket, tag: str) -> NoReturn:
        """The fork's whole life."""
        try:
            limit(self._cpu_s)
            asker.sendall(json.dumps(attempt(tag, self._vocabulary)).encode())
            os._exit(0)
        finally:
            os._exit(1)

    def _end(self) -> None:
        for fork in list(self._running):
            self._finish(fork)


def limit(cpu_s: int) -> None:
    """Limit this process's resources from now on."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def attempt(tag: str, vocabulary: Any) -> dict[str, Any]:
    """Compile a structural tag, and return the result as an answer."""
    began = time.perf_counter()
    try:
        size = compile_and_step(tag, vocabulary)
    except (RuntimeError, ValueError) as error:
        return {"error": str(error)}
    return {"seconds": time.perf_counter() - began, "bytes": size}


def compile_and_step(tag: str, vocabulary: Any) -> int:
    """Compile a structural tag and decode some tokens with it. Returns its size in bytes.

    Raises xgrammar's exceptions.
    """
    import xgrammar

    compiler = xgrammar.GrammarCompiler(vocabulary, max_threads=2, cache_enabled=False)
    compiled = compiler.compile_structural_tag(tag)
    matcher = xgrammar.GrammarMatcher(compiled)
    mask = xgrammar.allocate_token_bitmask(1, vocabulary.vocab_size)
    choose = random.Random(0)
    for _ in range(TOKENS):
        if matcher.is_terminated():
            break
        matcher.fill_next_token_bitmask(mask)
        words = [(place, word) for place, word in enumerate(mask[0].tolist()) if word]
        if not words:
            break
        place, word = choose.choice(words)
        matcher.accept_token(place * 32 + choose.choice([n for n in range(32) if word >> n & 1]))
    return int(compiled.memory_size_bytes)


def read_frame(descriptor: int) -> bytes:
    """Four bytes of length, then as many bytes. Raises EOFError, or OSError if it is cut short."""
    return _read(descriptor, int.from_bytes(_read(descriptor, 4), "big"))


def _read(descriptor: int, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        if not (part := os.read(descriptor, length - len(parts))):
            raise ConnectionError("it ends in the middle")
        parts += part
    return bytes(parts)


if __name__ == "__main__":
    main()
