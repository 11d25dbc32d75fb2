"""The process that reads HTML from strangers, so that the server does not.

A question is the page's address, a newline, and the page; the answer is its text in Markdown.
"""

from __future__ import annotations

import trafilatura

from agentlm.tools.confinement.inside import answer_frames, confine

_MEMORY_BYTES = 1 << 30
_SHORT = 200
"""An article shorter than this may be a page that is none: then all of its text is taken."""


def answer(question: bytes) -> bytes:
    """The text of one page."""
    url, _, html = question.partition(b"\n")
    return markdown(html, url.decode()).encode(errors="replace")


def markdown(html: bytes, url: str) -> str:
    """The readable part of a page, or all of its text if it has no main part."""
    article = trafilatura.extract_with_metadata(
        html, url=url, output_format="markdown", include_links=True, include_comments=False
    )
    text = (article.text or "") if article else ""
    if len(text) < _SHORT:
        text = max(text, trafilatura.html2txt(html), key=len)
    title = (article.title or "") if article else ""
    return f"# {title}\n\n{text}" if title and title not in text[:_SHORT] else text


if __name__ == "__main__":
    markdown(b"<html><body><p>" + b"Read now all that is loaded late. " * 20, "http://localhost/")
    confine(_MEMORY_BYTES)
    answer_frames(answer)
