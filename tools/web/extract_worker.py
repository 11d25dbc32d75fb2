"""The process that reads HTML from strangers, so that the server does not.

A question is the page's address and its charset as JSON, a newline, and the page; the answer is its
text in Markdown.
"""

from __future__ import annotations

import json
import re

import trafilatura
from trafilatura.utils import decode_file

from agentlm.tools.confinement.inside import answer_frames, confine
from agentlm.tools.web.charset import decoded, load_codecs

_MEMORY_BYTES = 1 << 30
_SHORT = 200
"""An article shorter than this may be a page that is none: then all of its text is taken."""
_XML_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")


def answer(question: bytes) -> bytes:
    """The text of one page."""
    about, _, html = question.partition(b"\n")
    page = json.loads(about or b"{}")
    return markdown(html, **page).encode(errors="replace")


def markdown(html: bytes, url: str = "", charset: str | None = None) -> str:
    """The readable part of a page, or all of its text if it has no main part."""
    page = decoded(html, charset, markup=True) or decode_file(html)  # which guesses
    page = _XML_DECLARATION.sub("", page, count=1)  # it would be decoded once more by that
    text = trafilatura.extract(
        page, url=url, output_format="markdown", include_links=True, include_comments=False
    )
    if len(text or "") < _SHORT:
        text = max(text or "", trafilatura.html2txt(page), key=len)
    assert text is not None
    title = _title(page)
    return f"# {title}\n\n{text}" if title and title not in text[:_SHORT] else text


def _title(page: str) -> str:
    metadata = trafilatura.extract_metadata(page, extensive=False)
    return (metadata.title if metadata else None) or ""


def load_late_imports() -> None:
    """Read pages of every kind now: a confined process can't load what they need."""
    load_codecs()
    text = "Read now all that is loaded late. Прочитай сейчас. "
    for page in (text.encode(), text.encode("cp1251")):
        markdown(b"<html><body><p>" + page * 20, "http://localhost/")


if __name__ == "__main__":
    load_late_imports()
    confine(_MEMORY_BYTES)
    answer_frames(answer)
