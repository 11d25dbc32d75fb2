"""HTTP connections, shared by all models of a process.

Making an HTTP client costs more than many requests (it reads the system's certificates), and
programs make a model wherever they need one, so models share clients. The process has one blocking
client; each event loop has its own asynchronous one, because connections can't cross loops.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import AsyncGenerator
from functools import cache

from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

_of_loops: dict[
    asyncio.AbstractEventLoop,
    tuple[AsyncGenerator[DefaultAsyncHttpxClient, None], DefaultAsyncHttpxClient],
] = {}


@cache
def http_client() -> DefaultHttpxClient:
    """The process's client."""
    client = DefaultHttpxClient()
    atexit.register(client.close)
    return client


async def async_http_client() -> DefaultAsyncHttpxClient:
    """The running loop's client.

    An open asynchronous generator holds it. A loop closes its generators before it ends
    (`asyncio.run` does), so nobody has to remember to.
    """
    loop = asyncio.get_running_loop()
    if loop not in _of_loops:
        for ended in [known for known in _of_loops if known.is_closed()]:
            _of_loops.pop(ended, None)
        holder = _hold()
        client = await anext(holder)
        _of_loops.setdefault(loop, (holder, client))
    return _of_loops[loop][1]


async def _hold() -> AsyncGenerator[DefaultAsyncHttpxClient, None]:
    async with DefaultAsyncHttpxClient() as client:
        yield client
