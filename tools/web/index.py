"""An offline web: pages in one SQLite file with a full-text index, read without network."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from agentlm.errors import OperatorError
from agentlm.files import exclusive

_WORD = re.compile(r"\w+")
_WORDS = 32
_SCHEMA = """
    CREATE TABLE page (id INTEGER PRIMARY KEY, url TEXT UNIQUE, title TEXT, text TEXT);
    CREATE VIRTUAL TABLE words USING fts5(title, text, content = 'page', content_rowid = 'id',
                                          tokenize = 'porter');
"""
_SEARCH = """
    SELECT page.title, page.url, snippet(words, 1, '', '', ' … ', 40)
    FROM words JOIN page ON page.id = words.rowid
    WHERE words MATCH ? ORDER BY bm25(words, 4, 1) LIMIT ?
"""


def build_index(path: Path, pages: Iterable[tuple[str, str, str]]) -> int:
    """Write (url, title, text) pages to a new index, after others that do. Returns their count."""
    with exclusive(path.with_suffix(".lock")):
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(unfinished)) as connection, connection:
            connection.executescript(_SCHEMA)
            insert = "INSERT OR REPLACE INTO page (url, title, text) VALUES (?, ?, ?)"
            count = connection.executemany(insert, pages).rowcount
            connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
        unfinished.replace(path)
        return count


class Index:
    """An index opened for reading."""

    def __init__(self, path: Path) -> None:
        address = f"file:{quote(str(path.absolute()))}?mode=ro"
        try:
            self._connection = sqlite3.connect(address, uri=True, check_same_thread=False)
            self._connection.execute("SELECT rowid FROM words LIMIT 1").fetchall()
        except sqlite3.Error as error:
            raise OperatorError(f"web_search: {path} is not an index: {error}") from error

    def search(self, query: str, limit: int) -> list[tuple[str, str, str]]:
        """(title, url, snippet) of pages that hold any word of the query, the best first."""
        words = _WORD.findall(query)[:_WORDS]
        if not words:
            return []
        terms = " OR ".join(f'"{word}"' for word in words)
        return self._connection.execute(_SEARCH, (terms, limit)).fetchall()

    def text(self, url: str) -> str | None:
        """A page's text, if it is in the index."""
        row = self._connection.execute("SELECT text FROM page WHERE url = ?", (url,)).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        self._connection.close()


def open_index(where: str) -> Index | None:
    """The index at a path; None if it is not the path of a file."""
    path = Path(where).expanduser()
    return Index(path) if path.is_file() else None
