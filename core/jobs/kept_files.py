"""Files that the API keeps: uploads, and the results of jobs.

    DATA_DIR/files/ID/file.json      its metadata
                      content.jsonl  as it was sent

A directory gets its final name when everything in it is on the disk, so a file is whole or absent.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from re import fullmatch

from pydantic import Field

from agentlm.errors import NotFoundError
from agentlm.files import new_id, sync, write_text
from agentlm.messages import Frozen

_READABLE = (".json", ".parquet")
_ABANDONED_S = 24 * 3600.0


class KeptFile(Frozen):
    """A file's metadata."""

    id: str = Field(default_factory=lambda: f"file-{new_id()}")
    owner: str | None
    """None: an administrator's."""
    filename: str
    purpose: str
    bytes: int
    created_at: int = Field(default_factory=lambda: int(time.time()))
    """Unix seconds."""


class KeptFiles:
    """The files of a data directory. With an `owner`, reads return only that owner's files."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "files"

    @contextmanager
    def arriving(self) -> Iterator[Path]:
        """A path to write a file's content to, for `keep`. The path is removed afterwards."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._sweep()
        directory = Path(tempfile.mkdtemp(prefix=".arriving-", dir=self._root))
        try:
            yield directory / "content"
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def keep(self, content: Path, file: KeptFile) -> KeptFile:
        """Make an upload a file that survives a power cut. If the file exists already, it stays."""
        directory = content.parent
        # Programs recognise a format by the suffix.
        suffix = Path(file.filename).suffix.lower()
        content.rename(directory / f"content{suffix if suffix in _READABLE else '.jsonl'}")
        for path in directory.iterdir():
            sync(path)
        write_text(directory / "file.json", file.model_dump_json(indent=2))
        if not (self._root / file.id).exists():
            directory.rename(self._root / file.id)
            sync(self._root)
        return file

    def get(self, file_id: str, owner: str | None) -> KeptFile:
        """Raises NotFoundError if it doesn't exist or belongs to another owner."""
        path = self._root / file_id / "file.json"
        if fullmatch(r"file-[0-9a-f]{8,64}", file_id) and path.is_file():
            file = KeptFile.model_validate_json(path.read_text())
            if owner in (None, file.owner):
                return file
        raise NotFoundError(f"there is no file {file_id!r}", param="file_id")

    def content(self, file: KeptFile) -> Path:
        return next((self._root / file.id).glob("content.*"))

    def list(self, owner: str | None) -> list[KeptFile]:
        """Oldest first."""
        files = [
            KeptFile.model_validate_json(path.read_text())
            for path in self._root.glob("file-*/file.json")
        ]
        mine = [file for file in files if owner in (None, file.owner)]
        return sorted(mine, key=lambda file: file.id)

    def delete(self, file: KeptFile) -> None:
        directory = self._root / file.id
        (directory / "file.json").unlink()
        shutil.rmtree(directory)

    def _sweep(self) -> None:
        """Remove unfinished uploads of a killed server."""
        for directory in self._root.glob(".arriving-*"):
            if time.time() - directory.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(directory, ignore_errors=True)
