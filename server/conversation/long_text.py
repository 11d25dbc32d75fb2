"""Long texts: tokenise them outside of the event loop, and refuse those that fit no context.

A tokenizer reads a few hundred kilobytes a second. On the loop, one long prompt would delay every
stream, so it is read by one of a few threads that do nothing else. This helps because the tokenizer
releases the interpreter lock (see `ContentTokenizer.encode`).
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
"""From this length on (some milliseconds), another thread is worthwhile."""
_EACH = 64
"""Fixed cost of a text, however short it is, in characters."""

_THREADS = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="agentlm-text")


async def reading(texts: Iterable[str], work: Callable[[], T]) -> T:
    """Do `work`, which reads `texts`, where it delays nothing else."""
    if sum(len(text) + _EACH for text in texts) < LONG_CHARS:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


def check_can_fit(
    texts: Iterable[str], renderer: Renderer, context: int, *, param: str = "messages"
) -> None:
    """Raises ContextLengthError for texts that are too long even if they tokenise well."""
    least = sum(map(len, texts)) // renderer.longest_token
    if least >= context:
        raise ContextLengthError(least, context, param=param, exact=False)
