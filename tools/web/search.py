"""Search: a backend is anything that turns a query into hits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import httpx

from agentlm.agent.tool import ToolError
from agentlm.errors import OperatorError
from agentlm.tools.web.index import Index

_SNIPPET_CHARS = 300
_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing found."""

    title: str
    url: str
    snippet: str


def write_hits(hits: Sequence[Hit]) -> str:
    """As a model reads them, numbered."""
    lines = [
        f"{number}. {hit.title}\n   {hit.url}\n   {hit.snippet}"
        for number, hit in enumerate(hits, start=1)
    ]
    return "\n".join(lines) or "(nothing found)"


def urls_of(text: str) -> list[str]:
    """The addresses in what `write_hits` wrote."""
    return _ADDRESS.findall(text)


_ADDRESS = re.compile(r"^\d+\. .*\n   (\S+)$", re.MULTILINE)


class Search(Protocol):
    """Finds pages."""

    async def search(self, query: str, limit: int) -> list[Hit]:
        """The best hits first. Raises ToolError if the backend does not answer."""
        ...

    async def close(self) -> None:
        """Close connections and files."""
        ...


class SearxngSearch:
    """A SearXNG server that the operator runs or trusts, with its JSON format enabled."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.AsyncClient(timeout=timeout_s, trust_env=False)

    async def search(self, query: str, limit: int) -> list[Hit]:
        """Ask `/search?format=json`."""
        try:
            response = await self._client.get(
                f"{self._url}/search", params={"q": query, "format": "json"}
            )
            response.raise_for_status()
            results = response.json()["results"]
            return [_hit(result) for result in results[:limit]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ToolError(f"the search service failed: {type(error).__name__}") from error

    async def close(self) -> None:
        await self._client.aclose()


class IndexSearch:
    """An offline index (`index.build_index`)."""

    def __init__(self, index: Index) -> None:
        self._index = index

    async def search(self, query: str, limit: int) -> list[Hit]:
        """By BM25 over title and text."""
        return [Hit(*row) for row in self._index.search(query, limit)]

    async def close(self) -> None:
        """Whoever opened the index closes it."""


def open_search(where: str, index: Index | None, timeout_s: float) -> Search:
    """The backend that `web_search` names. Raises OperatorError if it names none."""
    if index:
        return IndexSearch(index)
    if where.startswith(("http://", "https://")):
        return SearxngSearch(where, timeout_s)
    raise OperatorError(f"web_search: {where} is neither a URL nor an existing index")


def _hit(result: dict[str, str]) -> Hit:
    snippet = " ".join(str(result.get("content") or "").split())[:_SNIPPET_CHARS]
    return Hit(str(result.get("title") or "(no title)"), str(result["url"]), snippet)
