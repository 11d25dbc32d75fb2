"""Find entities by their labels: by the whole label, or by words in it."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from urllib.parse import quote

_WORD = re.compile(r"\w+")
_WORDS = 16
_EXACT = """
    SELECT iri FROM label WHERE text = ? GROUP BY iri ORDER BY min(rank), max(weight) DESC, iri
    LIMIT ?
"""
_WITH_WORDS = """
    SELECT iri FROM words JOIN label ON label.id = words.rowid WHERE words MATCH ?
    GROUP BY iri ORDER BY min(length(label.text)), max(weight) DESC, iri LIMIT ?
"""


class Labels:
    """The index of labels that `build` wrote."""

    def __init__(self, path: Path) -> None:
        address = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
        self._connection = sqlite3.connect(address, uri=True)
        self._connection.execute("SELECT 1 FROM label LIMIT 1").fetchall()

    def exact(self, label: str, limit: int) -> list[str]:
        """Identifiers with this label, ignoring case, best known first."""
        rows = self._connection.execute(_EXACT, (label.strip(), limit))
        return [iri for (iri,) in rows]

    def search(self, text: str, limit: int) -> list[str]:
        """Exact matches, then entities with all words in a label, shortest label first."""
        matches = self.exact(text, limit)
        words = _WORD.findall(text)[:_WORDS]
        if words and len(matches) < limit:
            terms = " ".join(f'"{word}"*' for word in words)
            matches += [iri for (iri,) in self._connection.execute(_WITH_WORDS, (terms, limit))]
        return list(dict.fromkeys(matches))[:limit]
