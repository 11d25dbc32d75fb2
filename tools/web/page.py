"""What was fetched as text, a page at a time, so that a small context can read a long document."""

from __future__ import annotations

import json
from dataclasses import dataclass

from agentlm.agent.tool import ToolError
from agentlm.tools.observation import readable
from agentlm.tools.web.extract import Extractor
from agentlm.tools.web.fetch import Fetched

_HTML = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class Document:
    """A page's text."""

    url: str
    text: str
    cut: bool = False
    """The page was longer than is read."""

    def page(self, number: int, chars: int) -> str:
        """One page of it, with what there is more. Raises ToolError past the last."""
        pages = split_pages(self.text, chars)
        if not 1 <= number <= len(pages):
            raise ToolError(f"{self.url} has {len(pages)} pages; there is no page {number}")
        parts = [self.url, pages[number - 1]]
        if len(pages) > 1:
            more = f"; the next one is page {number + 1}" if number < len(pages) else ""
            parts.append(f"[page {number} of {len(pages)}{more}]")
        if self.cut and number == len(pages):
            parts.append("[the document is longer than is read]")
        return "\n\n".join(parts)


async def document(fetched: Fetched, extractor: Extractor) -> Document:
    """The text of HTML, JSON or plain text. Raises ToolError for anything else."""
    kind = fetched.content_type
    if kind in _HTML or (not kind and fetched.body.lstrip()[:1] == b"<"):
        text = await extractor.markdown(fetched.body, fetched.url)
    elif kind == "application/json" or kind.endswith("+json"):
        text = _pretty(_decoded(fetched))
    elif not kind or kind.startswith("text/") or kind.endswith(("/xml", "+xml", "/javascript")):
        text = readable(_decoded(fetched).encode())
    else:
        raise ToolError(f"{fetched.url} is {kind} ({len(fetched.body)} bytes), which is not text")
    return Document(fetched.url, text.strip() or "(the page has no text)", fetched.cut)


def split_pages(text: str, chars: int) -> list[str]:
    """Pieces of at most `chars` characters, ended at a paragraph, line or word if one is near."""
    pages = []
    while len(text) > chars:
        end = next(
            (
                cut
                for mark in ("\n\n", "\n", " ")
                if (cut := text.rfind(mark, chars // 2, chars)) > 0
            ),
            chars,
        )
        pages.append(text[:end].strip())
        text = text[end:].lstrip()
    return [*pages, text]


def _decoded(fetched: Fetched) -> str:
    try:
        return fetched.body.decode(fetched.charset or "utf-8", errors="replace")
    except LookupError:
        return fetched.body.decode(errors="replace")


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
