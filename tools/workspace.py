"""A trajectory's work directory as the server sees it: what a sandbox wrote there is not trusted,
and links are never followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_BLOCK_BYTES = 512


def excess_of(workspace: Path, limit_bytes: int, limit_files: int) -> str | None:
    """What a work directory holds too much of, in words; None if it is within its limits."""
    size = 0
    for number, entry in enumerate(_entries(workspace), start=1):
        size += _size(entry)
        if number > limit_files:
            return f"the work directory holds more than {limit_files} files"
        if size > limit_bytes:
            return f"the work directory holds more than {limit_bytes // 2**20} MiB"
    return None


def trim(workspace: Path, limit_bytes: int, limit_files: int) -> int:
    """Remove files, the newest first, until the limits hold. Returns how many were removed.

    To be called when nothing runs there.
    """
    entries = [
        (entry.stat(follow_symlinks=False).st_ctime_ns, entry.path, _size(entry))
        for entry in _entries(workspace)
        if not entry.is_dir(follow_symlinks=False)
    ]
    entries.sort()
    size = sum(entry[2] for entry in entries)
    removed = 0
    while entries and (size > limit_bytes or len(entries) > limit_files):
        _, path, entry_size = entries.pop()
        Path(path).unlink(missing_ok=True)
        size -= entry_size
        removed += 1
    return removed


def _entries(workspace: Path) -> Iterator[os.DirEntry[str]]:
    pending = [str(workspace)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    yield entry
        except OSError:
            continue  # removed while we looked


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
    except FileNotFoundError:
        return 0
