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
    """Says what a work directory holds too much of; None if it is within its limits."""
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

    Call it only when nothing runs there.
    """
    remaining = _reachable(workspace)
    remaining.sort(key=lambda entry: (not entry.is_directory, entry.changed_ns, entry.path))
    size = sum(entry.size_bytes for entry in remaining)
    removed = 0
    while remaining and (size > limit_bytes or len(remaining) > limit_files):
        entry = remaining.pop()
        with suppress(OSError):  # a directory that still holds something, or is gone already
            _remove(workspace / entry.path, entry)
            removed += 1
        size -= entry.size_bytes
    return removed


def remove_whole(directory: Path) -> None:
    """Remove a directory, whatever is in it. Programs of the system do it: they survive any depth
    of nesting. Raises OSError."""
    remove = ["rm", "-rf", "--", str(directory)]
    if subprocess.run(remove, check=False, stderr=subprocess.DEVNULL).returncode:
        subprocess.run(["chmod", "-R", "u+rwx", "--", str(directory)], check=False)
        if subprocess.run(remove, check=False).returncode:
            raise OSError(f"{directory} could not be removed")


def _remove(path: Path, entry: Entry) -> None:
    remove = path.rmdir if entry.is_directory else path.unlink
    try:
        remove()
    except PermissionError:  # not to root
        path.parent.chmod(0o700)
        remove()


def entries(workspace: Path) -> Iterator[Entry]:
    """Everything below a work directory. Raises TooDeep."""
    with suppress(FileNotFoundError):
        yield from _below(_opened(str(workspace), None), "")


def _below(directory: int, path: str) -> Iterator[Entry]:
    """What is in an open directory, which is closed then."""
    try:
        if path.count("/") >= DEEPEST:
            raise TooDeep(path.partition("/")[0])
        with os.scandir(directory) as items:
            for entry in filter(None, (_entry(path, item) for item in items)):
                yield entry
                if entry.is_directory:
                    yield from _inside(directory, entry)
    except PermissionError as error:  # taken from us while we looked
        raise TooDeep(path.partition("/")[0]) from error
    finally:
        os.close(directory)


def _inside(parent: int, entry: Entry) -> Iterator[Entry]:
    try:
        directory = _opened(entry.path.rpartition("/")[2], parent)
    except (FileNotFoundError, NotADirectoryError):
        return  # removed or replaced while we looked
    except OSError as error:
        raise TooDeep(entry.path.partition("/")[0]) from error
    yield from _below(directory, entry.path)


def _entry(directory: str, item: os.DirEntry[str]) -> Entry | None:
    try:
        status = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Entry(
        path=f"{directory}/{item.name}" if directory else item.name,
        size_bytes=status.st_blocks * _BLOCK_BYTES,
        length_bytes=status.st_size,
        changed_ns=status.st_ctime_ns,
        is_directory=stat.S_ISDIR(status.st_mode),
        is_file=stat.S_ISREG(status.st_mode),
    )


def _opened(name: str, parent: int | None) -> int:
    """A descriptor of a directory, reached without following a link."""
    if not os.access(name, os.R_OK | os.X_OK, dir_fd=parent):
        _open_up(name, parent)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


def _open_up(name: str, parent: int | None) -> None:
    """Let ourselves look into a directory whose owner forbade it."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{fd}").chmod(0o700)
    finally:
        os.close(fd)


def _reachable(workspace: Path) -> list[Entry]:
    """All entries, after directories that are nested too deeply were removed."""
    while True:
        try:
            return list(entries(workspace))
        except TooDeep as error:
            remove_whole(workspace / str(error))
