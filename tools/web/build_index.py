"""Make an offline index of a folder of documents:

    python -m agentlm.tools.web.build_index pages.db FOLDER --url https://docs.example.org/

Every .html, .md and .txt file is indexed under the address it would have below that one. Give the
index to the server as `web_search`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from agentlm.agent.tool import ToolError
from agentlm.tools.web.extract import Extractor
from agentlm.tools.web.index import build_index

_HTML = (".html", ".htm")
_TEXT = (".md", ".txt")


async def read_folder(folder: Path, url: str) -> list[tuple[str, str, str]]:
    """(url, title, text) of each document below a folder; pages without text are left out."""
    extractor = Extractor()
    pages = []
    try:
        for path in sorted(_documents(folder)):
            address = url.rstrip("/") + "/" + path.relative_to(folder).as_posix()
            try:
                text = await _text(path, address, extractor)
            except ToolError:
                continue
            if text.strip():
                pages.append((address, _title(text, path), text))
    finally:
        await extractor.close()
    return pages


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Make an offline index of a folder of documents.")
    parser.add_argument("index", type=Path, help="file to write")
    parser.add_argument("folder", type=Path, help="folder of .html, .md and .txt files")
    parser.add_argument("--url", required=True, help="address that the folder would have")
    options = parser.parse_args(argv)
    pages = asyncio.run(read_folder(options.folder, options.url))
    print(f"{build_index(options.index, pages)} pages in {options.index}")
    return 0


def _documents(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix.lower() in _HTML + _TEXT]


async def _text(path: Path, url: str, extractor: Extractor) -> str:
    content = await asyncio.to_thread(path.read_bytes)
    if path.suffix.lower() in _HTML:
        return await extractor.markdown(content, url)
    return content.decode(errors="replace")


def _title(text: str, path: Path) -> str:
    """The first line, which is the heading if there is one."""
    return text.strip().partition("\n")[0].lstrip("# ").strip()[:200] or path.stem


if __name__ == "__main__":
    raise SystemExit(main())
