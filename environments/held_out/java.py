"""Java machines, each for one try at a time: the worlds' authors promise no more.

A machine is taken for a try and given back for the next, so there are as many as tries at once, of
some 200 MB each. It reads a pipe of this program's, so that it ends when the program does, however
that ends. If it dies or hangs, its try is broken, and the next one gets another.

py4j would tell a machine of each object that Python frees, in whatever thread that happens, and
wait for the answer: one machine that hangs would stop all tries. So it does not; a machine keeps
what it told Python of, and ends after some tries.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import reduce
from pathlib import Path
from subprocess import TimeoutExpired
from threading import Lock
from typing import Any

from agentlm.environments.adapters.loading import needed
from agentlm.environments.adapters.world import World
from agentlm.errors import OperatorError
from agentlm.install import install

_OPTIONS = ("-Xmx512m", "-XX:+UseSerialGC")
_TRIES = 100
"""With one machine: what it keeps of them is a few MB, once each try's world is given up."""
_PATIENCE_S = 5.0
"""For a machine to end by itself: one that hangs does not."""


class JavaMachines:
    """Of one package; started when they are needed."""

    def __init__(self, world: str, jar: Path, interface: str) -> None:
        if shutil.which("java") is None:
            raise OperatorError(
                f"{world} needs Java, and there is no program `java`: install Java 11 or newer "
                "(on Debian: apt-get install default-jre-headless)"
            )
        self._py4j = needed("py4j.java_gateway", "py4j", install(world))
        logging.getLogger("py4j").propagate = False  # it logs what it raises too
        self._world = world
        self._jar = jar
        self._interface = interface.split(".")
        self._lock = Lock()
        self._free: list[Any] = []
        self._taken: list[Any] = []
        self._tries = Counter[int]()

    def take(self) -> Any:
        """A machine of one's own, to be given back."""
        with self._lock:
            machine = self._free.pop() if self._free else None
        if machine is not None and not _lives(machine):
            _end(machine)
            machine = None
        machine = machine or self._started()
        with self._lock:
            self._taken.append(machine)
            self._tries[machine.java_process.pid] += 1
        return machine

    def give(self, machine: Any, world: Any) -> None:
        """Let another try have it, if it lives, without the world (if any) that it has for this
        one."""
        if world is not None:
            with suppress(self._py4j.Py4JError):  # it may have died
                machine.detach(world)
        with self._lock:
            if machine not in self._taken:
                return  # all were ended meanwhile
            self._taken.remove(machine)
            if _lives(machine) and self._tries[machine.java_process.pid] < _TRIES:
                self._free.append(machine)
                return
        _end(machine)

    def new(self, machine: Any) -> Any:
        """An object of the package's interface: a world."""
        return reduce(getattr, self._interface, machine.jvm)()

    @contextmanager
    def world(self) -> Iterator[Any]:
        """A world in a machine of its own, as long as it is needed."""
        machine, world = self.take(), None
        try:
            world = self.new(machine)
            yield world
        finally:
            self.give(machine, world)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """End them all afterwards."""
        try:
            yield
        finally:
            with self._lock:
                left = [*self._free, *self._taken]
                self._free, self._taken = [], []
            _end(*left)

    def _started(self) -> Any:
        try:
            port, process = self._py4j.launch_gateway(
                classpath=str(self._jar),
                cwd=self._jar.parent,  # where its data files are
                javaopts=list(_OPTIONS),
                die_on_exit=True,
                return_proc=True,
            )
        except Exception as error:
            raise RuntimeError(
                f"Java did not start for {self._world} ({error}); `java -version` has to say 11 "
                "or newer"
            ) from error
        parameters = self._py4j.GatewayParameters(
            port=port, auto_field=True, enable_memory_management=False
        )
        self._tries[process.pid] = 0  # an earlier machine's number may come again
        return self._py4j.JavaGateway(gateway_parameters=parameters, java_process=process)


class JavaWorld(World):
    """A world that runs in a Java machine; a subclass names its `machines`."""

    machines: JavaMachines
    _machine: Any = None
    _opened: Any = None

    @classmethod
    def shared(cls) -> AbstractAsyncContextManager[None]:
        """The Java machines."""
        return cls.machines.running()

    def opened(self) -> Any:
        """The package's interface in a machine that is this world's until it closes."""
        self._machine = self.machines.take()
        self._opened = self.machines.new(self._machine)
        return self._opened

    def close(self) -> None:
        """Give the machine back."""
        if self._machine is not None:
            self.machines.give(self._machine, self._opened)


def _lives(machine: Any) -> bool:
    return machine.java_process.poll() is None


def _end(*machines: Any) -> None:
    """They end when nobody holds the other end of the pipe that they read. Not by py4j's command,
    whose answer one that hangs never sends."""
    for machine in machines:
        machine.close()
        with suppress(BrokenPipeError):  # it may have died
            machine.java_process.stdin.close()
    deadline = time.monotonic() + _PATIENCE_S
    for machine in machines:
        try:
            machine.java_process.wait(max(0.0, deadline - time.monotonic()))
        except TimeoutExpired:
            machine.java_process.kill()
            machine.java_process.wait()
