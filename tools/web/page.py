"""What was fetched as text, a page at a time, so that a small context can read a long document."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from agentlm.agent.tool import ToolError
from agentlm.tools.observation import readable
from agentlm.tools.web.charset import decoded, forced
from agentlm.tools.web.extract import Extractor
from agentlm.tools.web.fetch import Fetched

_HTML = ("text/html", "application/xhtml+xml")
_TEXT = re.compile(
    r"(application|image|model)/([\w.+-]+[.+-])?"
    r"(xml|xml-dtd|json5?|ndjson|jsonl|jsonlines|json-lines|json-seq|ya?ml|toml|csv|tsv|sql|graphql"
    r"|(java|ecma|type)script|(c|z|ba)?sh|perl|python|ruby|php|httpd-php|la?tex|bibtex"
    r"|texinfo|troff|subrip|mpegurl|n-triples|n-quads|trig|turtle|sparql-query|markdown"
    r"|diff|patch|www-form-urlencoded|ini|properties)"
)
"""Kinds that are text though they are not called so, under any prefix (`x-`, `vnd.…+`)."""


@dataclass(frozen=True, slots=True)
class Document:
    """A page's text."""

    url: str
    text: str
    missing: str = ""
    """Why it is not the whole, if it is not."""

    def page(self, number: int, chars: int) -> str:
        """One page of it, with what there is more. Raises ToolError past the last."""
        pages = split_pages(self.text, chars)
        if not 1 <= number <= len(pages):
            raise ToolError(f"{self.url} has {len(pages)} pages; there is no page {number}")
        parts = [self.url, pages[number - 1]]
        if len(pages) > 1:
            more = f"; the next one is page {number + 1}" if number < len(pages) else ""
            parts.append(f"[page {number} of {len(pages)}{more}]")
        if self.missing and number == len(pages):
            parts.append(f"[{self.missing}]")
        return "\n\n".join(parts)


async def document(fetched: Fetched, extractor: Extractor) -> Document:
    """The text of HTML, JSON or plain text. Raises ToolError for anything else."""
    kind = fetched.content_type
    if kind in _HTML or (not kind and fetched.body.lstrip()[:1] == b"<"):
        text = await extractor.markdown(fetched.body, fetched.url, fetched.charset)
    elif kind == "application/json" or kind.endswith("+json"):
        text = _pretty(_decoded(fetched))
    elif _is_text(fetched):
        text = readable(_decoded(fetched).encode())
    else:
        raise ToolError(f"{fetched.url} is {kind} ({len(fetched.body)} bytes), which is not text")
    return Document(fetched.url, text.strip() or "(the page has no text)", fetched.missing)


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


def _is_text(fetched: Fetched) -> bool:
    """Whether it is called text, or is called nothing in particular and is text."""
    kind = fetched.content_type
    if not kind or kind.startswith(("text/", "message/")) or _TEXT.fullmatch(kind):
        return True
    unnamed = kind in ("application/octet-stream", "binary/octet-stream", "application/unknown")
    return unnamed and b"\0" not in fetched.body and decoded(fetched.body, None) is not None


def _decoded(fetched: Fetched) -> str:
    markup = fetched.content_type.endswith(("/xml", "+xml"))
    text = decoded(fetched.body, fetched.charset, markup=markup)
    return forced(fetched.body, fetched.charset) if text is None else text


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
