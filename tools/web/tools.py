"""The web tools: read a page, and search if the operator named where."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from importlib.util import find_spec

from pydantic import BaseModel, Field

from agentlm.agent.tool import Hints, Tool, ToolContext, ToolError
from agentlm.errors import OperatorError
from agentlm.messages import Frozen
from agentlm.tools.settings import ToolSettings
from agentlm.tools.web.extract import Extractor
from agentlm.tools.web.fetch import Fetcher
from agentlm.tools.web.index import Index, open_index
from agentlm.tools.web.page import Document, document
from agentlm.tools.web.search import Search, open_search, write_hits

_CACHED = 128
_HITS = 8


class FetchArgs(Frozen):
    """Arguments of `web_fetch`."""

    url: str = Field(min_length=1, max_length=2048)
    """Address of the page."""
    page: int = Field(default=1, ge=1)
    """Long documents come in pages; which one."""


class SearchArgs(Frozen):
    """Arguments of `web_search`."""

    query: str = Field(min_length=1, max_length=400)
    """What to look for, in a few words."""


class WebFetch:
    """Read a public web page as text. Long pages come in parts: ask for the next with `page`."""

    name = "web_fetch"
    hints = Hints(read_only=True, open_world=True)
    Args: type[BaseModel] = FetchArgs

    def __init__(self, settings: ToolSettings, index: Index | None = None) -> None:
        self._settings = settings
        self._index = index
        self._fetcher = Fetcher(settings)
        self._extractor = Extractor()
        self._cache: OrderedDict[str, tuple[float, Document]] = OrderedDict()

    async def run(self, args: FetchArgs, context: ToolContext) -> str:
        """One page of the document's text, from the cache while it is fresh."""
        limit_s = self._settings.tool_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                whole = self._cached(args.url) or await self._document(args.url)
        except TimeoutError as error:
            raise ToolError(f"the page did not arrive within {limit_s:g} s") from error
        return whole.page(args.page, self._settings.web_page_chars)

    async def release(self, trajectory_id: str) -> None:
        """Nothing is kept for a trajectory."""

    async def close(self) -> None:
        """End the extractor, close connections and the index."""
        await self._fetcher.close()
        await self._extractor.close()
        if self._index:
            self._index.close()

    async def _document(self, url: str) -> Document:
        if self._index and (text := await asyncio.to_thread(self._index.text, url)):
            return Document(url, text)
        fetched = await document(await self._fetcher.fetch(url), self._extractor)
        self._cache[url] = time.monotonic(), fetched
        while len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return fetched

    def _cached(self, url: str) -> Document | None:
        fetched_at, cached = self._cache.get(url, (0.0, None))
        fresh = time.monotonic() - fetched_at < self._settings.web_cache_s
        return cached if fresh else None


class WebSearch:
    """Search the web. Gives titles, addresses and excerpts; read one with web_fetch."""

    name = "web_search"
    hints = Hints(read_only=True, open_world=True)
    Args: type[BaseModel] = SearchArgs

    def __init__(self, search: Search) -> None:
        self._search = search

    async def run(self, args: SearchArgs, context: ToolContext) -> str:
        """The best hits, numbered."""
        return write_hits(await self._search.search(args.query, _HITS))

    async def release(self, trajectory_id: str) -> None:
        """Nothing is kept for a trajectory."""

    async def close(self) -> None:
        """Close the backend."""
        await self._search.close()


async def open_web(settings: ToolSettings) -> tuple[Tool, ...]:
    """`web_fetch`, and `web_search` if the settings name a backend."""
    if find_spec("trafilatura") is None:
        raise OperatorError("the web tools need the package trafilatura (extra `tools`)")
    where = settings.web_search
    if not where:
        return (WebFetch(settings),)
    index = await asyncio.to_thread(open_index, where)
    search = open_search(where, index, settings.tool_timeout_s)
    return WebFetch(settings, index), WebSearch(search)
