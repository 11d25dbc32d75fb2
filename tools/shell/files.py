"""Files handed into a trajectory's work directory, and taken out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agentlm.errors import NotFoundError, RequestError
from agentlm.tools.settings import MEBIBYTE, ToolSettings
from agentlm.tools.shell.bubblewrap import prepare_workspace
from agentlm.tools.shell.workspace import Entry, TooDeep, entries

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class WorkspaceFiles:
    """The files of one trajectory. Names are relative; links in them are never followed."""

    workspace: Path
    settings: ToolSettings

    def list(self) -> list[Entry]:
        """Every regular file. Raises RequestError if there is too much to be looked through."""
        try:
            return sorted(
                (entry for entry in entries(self.workspace) if entry.is_file),
                key=lambda entry: entry.path,
            )
        except TooDeep as error:
            raise RequestError("the work directory is nested too deeply to be listed") from error

    def put(self, name: str, content: bytes) -> None:
        """Write a file, directories included. RequestError if it does not fit or can't be there."""
        limit = self.settings.bash_disk_mb * MEBIBYTE
        prepare_workspace(self.workspace, self.settings)
        used = sum(entry.size_bytes for entry in entries(self.workspace))
        if used + len(content) > limit:
            raise RequestError(
                f"{name} has {len(content)} bytes; {max(0, limit - used)} are left", param="files"
            )
        with self._parent(name, create=True) as (directory, leaf):
            with suppress(FileNotFoundError):
                os.unlink(leaf, dir_fd=directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            fd = os.open(leaf, flags, 0o644, dir_fd=directory)
            with os.fdopen(fd, "wb") as file:
                self._own(fd)
                file.write(content)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A regular file, to be read. Raises NotFoundError if there is none of that name."""
        with self._parent(name, create=False) as (directory, leaf):
            # without O_NONBLOCK, a pipe that nobody writes to would hold us for ever
            fd = os.open(leaf, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise NotFoundError(f"{name} is not a file", param="name")
            yield file

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
            self._own(fd)
            os.close(fd)

    def _own(self, fd: int) -> None:
        if os.geteuid() == 0 and self.settings.bash_sandbox != "unsafe":
            os.fchown(fd, self.settings.bash_uid, self.settings.bash_uid)


def _parts(name: str) -> list[str]:
    parts = name.split("/")
    if "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise RequestError(
            f"{name!r} is not a relative name such as `data/input.csv`", param="name"
        )
    return parts
