"""A trajectory's work directory as the server sees it: what a sandbox wrote there is not trusted.

No link is followed, neither to measure nor to hand files in and out: each directory on the way is
opened from the one before it. What can't be reached in a bounded way counts as too much.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BLOCK_BYTES = 512
DEEPEST = 64
"""How deep directories may be nested."""


class TooDeep(Exception):
    """Directories are nested too deeply to be looked through; the path of the outermost."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory or link, found without following any link."""

    path: str
    """Relative to the work directory."""
    size_bytes: int
    """On disk for the limits; sparse files take what they take."""
    length_bytes: int
    """What a reader gets of a file."""
    changed_ns: int
    is_directory: bool
    is_file: bool


def excess_of(workspace: Path, limit_bytes: int, limit_files: int) -> str | None:
    """What a work directory holds too much of, in words; None if it is within its limits."""
    size = 0
    try:
        for number, entry in enumerate(entries(workspace), start=1):
            size += entry.size_bytes
            if number > limit_files:
                return f"the work directory holds more than {limit_files} files"
            if size > limit_bytes:
                return f"the work directory holds more than {limit_bytes // 2**20} MiB"
    except TooDeep:
        return f"the work directory is nested more than {DEEPEST} directories deep"
    return None


def trim(workspace: Path, limit_bytes: int, limit_files: int) -> int:
    """Remove what is newest until the limits hold. Returns how many files were removed.

    To be called when nothing runs there.
    """
    found = _reachable(workspace)
    found.sort(key=lambda entry: (not entry.is_directory, entry.changed_ns, entry.path))
    size = sum(entry.size_bytes for entry in found)
    removed = 0
    while found and (size > limit_bytes or len(found) > limit_files):
        entry = found.pop()
        path = workspace / entry.path
        with suppress(OSError):  # a directory that still holds something, or is gone already
            path.rmdir() if entry.is_directory else path.unlink()
            removed += 1
        size -= entry.size_bytes
    return removed


def entries(workspace: Path) -> Iterator[Entry]:
    """Everything below a work directory. Raises TooDeep."""
    pending = [""]
    while pending:
        directory = pending.pop()
        try:
            if directory.count("/") >= DEEPEST:
                raise OSError("too deep")
            for entry in _scan(workspace, directory):
                if entry.is_directory:
                    pending.append(entry.path)
                yield entry
        except FileNotFoundError:
            continue  # removed while we looked
        except OSError as error:
            raise TooDeep(directory.partition("/")[0]) from error


def _scan(workspace: Path, directory: str) -> Iterator[Entry]:
    path = workspace / directory
    try:
        items = os.scandir(path)
    except PermissionError:
        _open_up(path)
        items = os.scandir(path)
    with items:
        yield from filter(None, (_entry(directory, item) for item in items))


def _entry(directory: str, item: os.DirEntry[str]) -> Entry | None:
    try:
        found = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Entry(
        path=f"{directory}/{item.name}" if directory else item.name,
        size_bytes=found.st_blocks * _BLOCK_BYTES,
        length_bytes=found.st_size,
        changed_ns=found.st_ctime_ns,
        is_directory=stat.S_ISDIR(found.st_mode),
        is_file=stat.S_ISREG(found.st_mode),
    )


def _open_up(directory: Path) -> None:
    """Let ourselves look into a directory whose owner forbade it. Follows no link."""
    fd = os.open(directory, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        Path(f"/proc/self/fd/{fd}").chmod(0o700)
    finally:
        os.close(fd)


def _reachable(workspace: Path) -> list[Entry]:
    """What can be looked through, after what can't be was removed whole."""
    while True:
        try:
            return list(entries(workspace))
        except TooDeep as error:
            subprocess.run(["rm", "-rf", "--", str(workspace / str(error))], check=True)
