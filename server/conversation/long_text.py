"""Long texts: tokenised beside the event loop, and refused unread if no context could hold them.

A tokenizer reads a few hundred kilobytes a second. On the loop, one long prompt would hold up every
stream; so it is read on one of a few threads, which other work never waits for. That helps because
the tokenizer lets go of the interpreter meanwhile (see `ContentTokenizer.encode`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agentlm.errors import ContextLengthError
from agentlm.prompt.render import Renderer

T = TypeVar("T")

LONG_CHARS = 4096
"""From here on (some milliseconds) the way to another thread is worth it."""
_EACH = 64
"""What a text takes to handle, however short it is, in characters."""

_THREADS = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="agentlm-text")


async def reading(texts: Iterable[str], work: Callable[[], T]) -> T:
    """Do `work`, which reads `texts`, where it holds up nobody."""
    if sum(len(text) + _EACH for text in texts) < LONG_CHARS:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


def check_can_fit(
    texts: Iterable[str], renderer: Renderer, context: int, *, param: str = "messages"
) -> None:
    """Raises ContextLengthError for texts that are too long however well they tokenise."""
    least = sum(map(len, texts)) // renderer.longest_token
    if least >= context:
        raise ContextLengthError(least, context, param=param, exact=False)
