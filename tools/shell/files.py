"""Files handed into a trajectory's work directory, and taken out of it."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agentlm.errors import NotFoundError, RequestError
from agentlm.printable import UNPRINTABLE, printable
from agentlm.tools.settings import MEBIBYTE, ToolSettings
from agentlm.tools.shell.bubblewrap import prepare_workspace
from agentlm.tools.shell.workspace import DEEPEST, Entry, TooDeep, entries

_ABANDONED_S = 3600.0
_INCOMING = "incoming-"
_NAME_BYTES = 255
_ODD = re.compile(f"[\t\n\ufffd]|{UNPRINTABLE.pattern}")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class WorkspaceFiles:
    """The files of one trajectory. Names are relative; links in them are never followed."""

    workspace: Path
    settings: ToolSettings

    def list(self) -> list[Entry]:
        """Every regular file. Raises RequestError if there is too much to be looked through."""
        files = (entry for entry in self._entries() if entry.is_file)
        return sorted(files, key=lambda entry: entry.path)

    def put(self, name: str, content: bytes) -> None:
        """Write a file, directories included. RequestError if it does not fit or can't be there."""
        with closing(self.receive(name)) as incoming:
            incoming.write(content)
            incoming.keep()

    def receive(self, name: str) -> Incoming:
        """A file in parts, which the caller closes. RequestError if there is no room."""
        parts = _new_parts(name)
        prepare_workspace(self.workspace, self.settings)
        return Incoming(self, name, self.room_bytes(len(parts)))

    def room_bytes(self, new: int) -> int:
        """Bytes that are left. Raises RequestError if `new` more files and directories do not fit.

        Files on their way in have taken their room already.
        """
        present = list(self._entries())
        if len(present) + new > self.settings.bash_files:
            raise RequestError(
                f"there are {len(present)} files and directories already; at most "
                f"{self.settings.bash_files} are kept",
                param="name",
            )
        used = sum(entry.size_bytes for entry in present)
        return max(0, self.settings.bash_disk_mb * MEBIBYTE - used)

    def incoming_bytes(self) -> int:
        """Bytes received so far of all files that are on their way in."""
        total = 0
        for path in self.workspace.parent.glob(f"{_INCOMING}*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                if status.st_mtime < time.time() - _ABANDONED_S:  # by a server that was killed
                    path.unlink()
                else:
                    total += status.st_size
        return total

    def open(self, name: str) -> BinaryIO:
        """A regular file, to be read. Raises NotFoundError if there is none of that name."""
        with self._parent(name, create=False) as (directory, leaf):
            # without O_NONBLOCK, a pipe that nobody writes to would hold us for ever
            fd = os.open(leaf, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return os.fdopen(fd, "rb")
        os.close(fd)
        raise NotFoundError(f"{name} is not a file", param="name")

    def move_in(self, path: str, name: str) -> None:
        """Give a file of ours a name in the work directory, in place of what has it now."""
        with self._parent(name, create=True) as (directory, leaf):
            os.rename(path, leaf, dst_dir_fd=directory)

    def own(self, fd: int) -> None:
        """Let commands change what we made."""
        if os.geteuid() == 0 and self.settings.bash_sandbox != "unsafe":
            os.fchown(fd, self.settings.bash_uid, self.settings.bash_uid)

    def _entries(self) -> Iterator[Entry]:
        try:
            yield from entries(self.workspace)
        except TooDeep as error:
            raise RequestError("the work directory is nested too deeply to be listed") from error

    @contextmanager
    def _parent(self, name: str, *, create: bool) -> Iterator[tuple[int, str]]:
        """A descriptor of the directory that `name` is in, reached without following links."""
        *parents, leaf = _parts(name)
        fds: list[int] = []
        try:
            fds.append(os.open(self.workspace, _DIRECTORY))
            for part in parents:
                if create:
                    self._make(part, fds[-1])
                fds.append(os.open(part, _DIRECTORY, dir_fd=fds[-1]))
            yield fds[-1], leaf
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise NotFoundError(f"there is no file {name!r}", param="name") from error
        except OSError as error:
            raise RequestError(f"{name!r}: {error.strerror}", param="name") from error
        finally:
            for fd in fds:
                os.close(fd)

    def _make(self, name: str, parent: int) -> None:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
            self.own(fd)
            os.close(fd)


class Incoming:
    """A file on its way in. Its name exists only once the file is complete."""

    def __init__(self, files: WorkspaceFiles, name: str, room_bytes: int) -> None:
        self._files = files
        self._name = name
        self._room = room_bytes
        self.written = 0
        """Bytes that have come."""
        fd, self._path = tempfile.mkstemp(dir=files.workspace.parent, prefix=_INCOMING)
        files.own(fd)
        self._file = os.fdopen(fd, "wb", buffering=0)

    def write(self, data: bytes) -> None:
        """Take the next part. Raises RequestError if the work directory can't hold it beside all
        else that comes in."""
        if self._files.incoming_bytes() + len(data) > self._room:
            raise RequestError(
                f"{self._name} is too large: {self._room} bytes are left", param="name"
            )
        self.written += len(data)
        while data:
            data = data[self._file.write(data) :]

    def keep(self) -> None:
        """Give the complete file its name.

        Raises RequestError if it can't have that name, or if others took the room.
        """
        self._room = self._files.room_bytes(len(_parts(self._name)))
        self.write(b"")
        self._files.move_in(self._path, self._name)

    def close(self) -> None:
        """Remove the file if it was not kept."""
        self._file.close()
        Path(self._path).unlink(missing_ok=True)


def _new_parts(name: str) -> list[str]:
    """The parts of a name that a file may be given; commands may give others."""
    parts = _parts(name)
    if _ODD.search(name):
        raise RequestError(
            f"{printable(name)!r} has characters that can't be seen or are no text", param="name"
        )
    if len(parts) > DEEPEST or any(len(os.fsencode(part)) > _NAME_BYTES for part in parts):
        raise RequestError(
            f"a name has at most {DEEPEST} parts of at most {_NAME_BYTES} bytes", param="name"
        )
    return parts


def _parts(name: str) -> list[str]:
    parts = name.split("/")
    if "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise RequestError(
            f"{name!r} is not a relative name such as `data/input.csv`", param="name"
        )
    return parts
