"""The process that reads HTML from strangers, so that the server does not.

It starts with its imports done, gives up root and the means to do harm, and then answers: a frame
with the page's address, a frame with the page; back comes a frame with its text in Markdown, empty
if it has none. A frame is its length in four bytes and then that many.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import BinaryIO

import trafilatura

_NOBODY = 65533
_MEMORY_BYTES = 1 << 30
_SHORT = 200
"""An article shorter than this may be a page that is none: then all of its text is taken."""


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame, or None at the end of the stream."""
    header = stream.read(4)
    return stream.read(int.from_bytes(header, "big")) if len(header) == 4 else None


def frame(content: bytes) -> bytes:
    """What `read_frame` reads."""
    return len(content).to_bytes(4, "big") + content


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


def confine() -> None:
    """Give up what parsing does not need."""
    markdown(b"<html><body><p>" + b"Read all that is loaded late. " * 20, "http://localhost/")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def main() -> None:
    """Answer until the input ends."""
    confine()
    while (url := read_frame(sys.stdin.buffer)) is not None:
        html = read_frame(sys.stdin.buffer) or b""
        text = markdown(html, url.decode())
        sys.stdout.buffer.write(frame(text.encode(errors="replace")))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
