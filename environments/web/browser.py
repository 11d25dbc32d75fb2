"""One Chromium for all tries, each with a tab of its own, driven by Playwright.

A new tab is a new process, which takes longer than all that is done on a small page: so a tab is
given back for the next try, which loads its page anew.

Playwright's objects belong to one event loop, worlds run in threads of their own: so the loop has a
thread too. A Chromium that died is replaced when the next tab is taken; one that does not answer is
killed, so that whatever waits for it breaks. It is Playwright's child, which ends it when this
program ends, however that ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Any, NamedTuple, TypeVar

from agentlm.environments.adapters.loading import needed
from agentlm.errors import OperatorError
from agentlm.install import install
from agentlm.tools.shell.process_tree import children

T = TypeVar("T")

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ("--disable-dev-shm-usage", "--disable-gpu")
_START_S = 180.0
"""For Chromium to start: a machine may be busy."""
_PATIENCE_S = 120.0
"""For whatever is done with a page, also on a machine that trains beside it."""
_END_S = 10.0
"""For Chromium to end by itself."""


@dataclass(eq=False)
class Chromium:
    """One that was started."""

    playwright: Any
    """Its parent, of whom each has one."""
    handle: Any
    pid: int
    free: list[Any] = field(default_factory=list)
    """Pages that were given back."""
    killed: bool = False

    @property
    def lives(self) -> bool:
        """Whether it and its parent have not ended. They may hang."""
        connected = not self.killed and bool(self.handle.is_connected())
        return connected and _parent_of(self.pid) is not None

    def kill(self) -> None:
        """End it, whatever it does; what waits for it breaks."""
        self.killed = True
        if _parent_of(self.pid) is not None:  # otherwise the number may be another's by now
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(self.pid), signal.SIGKILL)

    async def end(self) -> None:
        """Let it end, and its parent; kill them if they don't."""
        parent = _parent_of(self.pid)
        if not await _done(self.handle.close()):
            self.kill()
        if not await _done(self.playwright.stop()) and parent in children(os.getpid()):
            os.kill(parent, signal.SIGKILL)


class Tab(NamedTuple):
    """What a try has of it."""

    page: Any
    """As Playwright has it."""
    chromium: Chromium


class Browser:
    """Starts when the first tab is taken, and is not started again once it was stopped."""

    patience_s = _PATIENCE_S

    def __init__(self, world: str) -> None:
        program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
        if program is None:
            raise OperatorError(
                f"{world} needs Chromium, and there is no program {' or '.join(_PROGRAMS)} (on "
                "Debian: apt-get install chromium)"
            )
        self._program = program
        self._library = needed("playwright.async_api", "playwright", install(world))
        self._loop = _Loop()
        self._starting = asyncio.Lock()
        self._chromium: Chromium | None = None

    def take(self) -> Tab:
        """A tab without a network, to be given back."""
        return self._loop.wait(self._taken(), _START_S + self.patience_s)

    def run(self, tab: Tab, work: Coroutine[Any, Any, T]) -> T:
        """Wait for what is done with the tab's page. If it takes too long, Chromium is killed."""
        try:
            return self._loop.wait(work, self.patience_s)
        except _TooLongError as error:
            tab.chromium.kill()
            raise RuntimeError(f"Chromium hung and was ended: {error}") from error

    def give(self, tab: Tab) -> None:
        """Let another try have the tab, if it can still show a page."""
        if tab.chromium.lives:
            with suppress(Exception):  # whose try it was is done, and nobody else has it yet
                self.run(tab, self._given(tab))

    def stop(self) -> None:
        """End it. What still waits for it breaks."""
        with suppress(_TooLongError):  # if it never starts, it ends with this program
            self._loop.wait(self._stopped(), 3 * _END_S)
        self._loop.close()

    async def _taken(self) -> Tab:
        async with self._starting:
            if self._chromium is None or not self._chromium.lives:
                await self._end()
                self._chromium = await self._started()
            chromium = self._chromium
        if chromium.free:
            return Tab(chromium.free.pop(), chromium)
        context = await chromium.handle.new_context(offline=True)
        context.set_default_timeout(1000 * self.patience_s / 2)  # to say what took so long
        return Tab(await context.new_page(), chromium)

    async def _given(self, tab: Tab) -> None:
        try:
            await tab.page.goto("about:blank")
        except self._library.Error:
            with suppress(self._library.Error):
                await tab.page.context.close()
        else:
            tab.chromium.free.append(tab.page)

    async def _started(self) -> Chromium:
        playwright = await self._library.async_playwright().start()
        try:
            handle = await playwright.chromium.launch(
                executable_path=self._program,
                args=_ARGUMENTS,
                timeout=1000 * _START_S,
                handle_sigint=False,  # whoever presses Ctrl-C has this program end it
            )
            return Chromium(playwright, handle, await _pid(handle))
        except self._library.Error as error:
            await playwright.stop()
            reason = str(error).splitlines()[0]
            raise RuntimeError(f"{self._program} did not start: {reason}") from error

    async def _stopped(self) -> None:
        async with self._starting:
            await self._end()

    async def _end(self) -> None:
        chromium, self._chromium = self._chromium, None
        if chromium is not None:
            await chromium.end()


async def _pid(handle: Any) -> int:
    session = await handle.new_browser_cdp_session()
    processes = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
    await session.detach()
    return next(int(process["id"]) for process in processes if process["type"] == "browser")


async def _done(work: Coroutine[Any, Any, object]) -> bool:
    """Whether it came to an end in time, be it that it broke: what is dead can't be closed."""
    with suppress(Exception):
        try:
            await asyncio.wait_for(work, _END_S)
        except TimeoutError:
            return False
    return True


def _parent_of(pid: int) -> int | None:
    """The child of this program's that has it as a child."""
    for child in children(os.getpid()):
        with suppress(FileNotFoundError, ProcessLookupError):
            if pid in children(child):
                return child
    return None


class _TooLongError(Exception):
    pass


class _Loop:
    """An event loop in a thread of its own, from the first wait until it is closed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = True
        self._ended = asyncio.Event()
        self._thread = Thread(target=self._turn, daemon=True, name="browser")

    def wait(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """The result of what is done in the loop."""
        running = self._begun(work)
        try:
            return running.result(seconds)
        except TimeoutError:
            if running.done():
                raise
            running.cancel()
            raise _TooLongError(f"no answer for {seconds:g} s") from None

    def close(self) -> None:
        """End loop and thread; what is left in the loop is cancelled."""
        with self._lock:
            loop, self._loop, self._open = self._loop, None, False
        if loop is not None:
            loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(_END_S)

    def _begun(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            if not self._open:
                work.close()
                raise RuntimeError("the browser was stopped")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _turn(self) -> None:
        loop = self._loop
        assert loop is not None
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._ended.wait())
