"""Digests that identify weights and tokenizer: equal digests mean equal behaviour.

Hashing gigabytes takes long, so a file's digest is kept, and computed again only if the file's size
or modification time has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import rich.progress

from agentlm.console import Console
from agentlm.files import write_text

LARGE = 1 << 30
"""Hashing files from this size in bytes shows progress."""


class FileDigests:
    """SHA-256 of files, cached in one JSON file."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def of(self, paths: Iterable[Path]) -> str:
        """One digest of the files, in this order; their names don't count."""
        known = self._load()
        before = dict(known)
        digests = [self._digest(path.resolve(), known) for path in paths]
        if known != before:
            write_text(self._cache, json.dumps(known, indent=1, sort_keys=True))
        return combined(*digests)

    def _digest(self, path: Path, known: dict[str, dict[str, str | int]]) -> str:
        state = path.stat()
        key = {"size": state.st_size, "modified_ns": state.st_mtime_ns}
        entry = known.get(str(path), {})
        if any(entry.get(name) != value for name, value in key.items()):
            entry = known[str(path)] = {**key, "sha256": _sha256(path)}
        return str(entry["sha256"])

    def _load(self) -> dict[str, dict[str, str | int]]:
        # Losing the cache only costs time.
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return dict(json.loads(self._cache.read_text()))
        return {}


def combined(*parts: str | None) -> str:
    """A short digest of digests or texts, in this order."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with rich.progress.open(
        path,
        "rb",
        description=f"Hashing {path.name}",
        console=Console(stderr=True),
        disable=path.stat().st_size < LARGE,
        transient=True,
    ) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
