"""What has to be true of what a client got. The standard library only."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Coroutine, Sequence
from functools import partial
from typing import Any
from urllib.request import urlopen

from client_matrix.questions import GREETING, NOT_FOUND, URL, counting


def equal(got: object, expected: object) -> None:
    """An assertion whose message a person can read in a table."""
    if got != expected:
        raise AssertionError(f"got {got!r}, expected {expected!r}")


def holds(got: object, expected: str) -> None:
    """`expected` stands in the text of `got`."""
    if expected not in str(got):
        raise AssertionError(f"got {str(got)[:300]!r}, expected {expected!r} in it")


def in_pieces(texts: Sequence[str]) -> None:
    """They are the greeting's, and more than two that are not empty."""
    equal("".join(texts), GREETING)
    if sum(map(bool, texts)) < 3:
        raise AssertionError("it came in one piece")


def refused(error: BaseException | None, kind: type[BaseException]) -> None:
    """The missing model's error is of the client's own kind and has the server's words."""
    if not isinstance(error, kind):
        raise AssertionError(f"got {error!r}, expected {kind.__name__}")
    holds(error, NOT_FOUND)


def error_of(ask: Any) -> BaseException | None:
    """What calling it raises."""
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - it is judged by whoever asks
        return error
    return None


async def error_awaited(asked: Awaitable[object]) -> BaseException | None:
    """What awaiting it raises."""
    [outcome] = await asyncio.gather(asked, return_exceptions=True)
    return outcome if isinstance(outcome, BaseException) else None


async def check_cancels(
    asked: Coroutine[Any, Any, object], client: str, *, kept: bool = True
) -> None:
    """Cancelled while it counts, its request ends on the server too.

    Of an answer that is not to be kept the log has nothing: then it is counted.
    """
    before = cancelled_so_far()
    task = asyncio.create_task(asked)
    await asyncio.to_thread(wait_until_it_runs)
    if task.done():
        raise AssertionError(f"over before it was cancelled: {task}")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    check = partial(check_cancelled, client) if kept else partial(check_one_more, before)
    await asyncio.to_thread(check)


def wait_until_it_runs() -> None:
    """The server is answering. Clients are played one after another: it is this one's request."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if re.search(r"^agentlm_running [1-9]", _metrics(), re.M):
            return
        time.sleep(0.1)
    raise AssertionError("the request did not reach the server")


def check_cancelled(client: str) -> None:
    """The server notices within seconds that nobody reads the count any more, and stops."""
    deadline = time.monotonic() + 20
    others: set[str] = set()
    while time.monotonic() < deadline:
        listed = {each["id"] for each in _get("trajectories?outcomes=cancelled&limit=100")["data"]}
        for identity in listed - others:
            if counting(client) in json.dumps(_get(f"trajectories/{identity}")):
                return
        others |= listed
        time.sleep(0.1)
    raise AssertionError("the server did not record that the request was cancelled")


def check_one_more(before: int) -> None:
    """More answers than `before` are cancelled, within seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if cancelled_so_far() > before:
            return
        time.sleep(0.1)
    raise AssertionError("the server did not count that the request was cancelled")


def cancelled_so_far() -> int:
    """How many answers are, of those that are kept and of others."""
    count = re.search(r'^agentlm_choices_total{outcome="cancelled"} (\d+)', _metrics(), re.M)
    return int(count[1]) if count else 0


def _metrics() -> str:
    with urlopen(URL.removesuffix("/v1") + "/metrics", timeout=10) as response:
        text: str = response.read().decode()
    return text


def _get(path: str) -> Any:
    with urlopen(f"{URL}/{path}", timeout=10) as response:
        return json.load(response)
