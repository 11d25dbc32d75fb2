"""Files that the API keeps: what was uploaded, and the results of jobs.

    DATA_DIR/files/ID/file.json      what is known of it
                      content.jsonl  as it was sent

A directory gets its name when everything in it is on the disk, so a file is whole or absent.
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
    """What is known of a file."""

    id: str = Field(default_factory=lambda: f"file-{new_id()}")
    owner: str | None
    """Whose it is; None: an administrator's."""
    filename: str
    purpose: str
    bytes: int
    created_at: int = Field(default_factory=lambda: int(time.time()))
    """Unix seconds."""


class KeptFiles:
    """The files of a data directory. `owner` scopes every read; None crosses owners."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "files"

    @contextmanager
    def arriving(self) -> Iterator[Path]:
        """A path to write a file's content to, for `keep`; it is gone afterwards."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._sweep()
        directory = Path(tempfile.mkdtemp(prefix=".arriving-", dir=self._root))
        try:
            yield directory / "content"
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def keep(self, content: Path, file: KeptFile) -> KeptFile:
        """Make what arrived a file that survives a power cut; one that is there already stays."""
        directory = content.parent
        # Programs tell a format by the ending of the name.
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
        """One file. Raises NotFoundError if there is none or it is another owner's."""
        path = self._root / file_id / "file.json"
        if fullmatch(r"file-[0-9a-f]{8,64}", file_id) and path.is_file():
            file = KeptFile.model_validate_json(path.read_text())
            if owner in (None, file.owner):
                return file
        raise NotFoundError(f"there is no file {file_id!r}", param="file_id")

    def content(self, file: KeptFile) -> Path:
        """Where its content is."""
        return next((self._root / file.id).glob("content.*"))

    def list(self, owner: str | None) -> list[KeptFile]:
        """All files of an owner, oldest first."""
        found = [
            KeptFile.model_validate_json(path.read_text())
            for path in self._root.glob("file-*/file.json")
        ]
        mine = [file for file in found if owner in (None, file.owner)]
        return sorted(mine, key=lambda file: file.id)

    def delete(self, file: KeptFile) -> None:
        """Remove it."""
        directory = self._root / file.id
        (directory / "file.json").unlink()
        shutil.rmtree(directory)

    def _sweep(self) -> None:
        """Remove what a server that was killed had begun to receive."""
        for directory in self._root.glob(".arriving-*"):
            if time.time() - directory.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(directory, ignore_errors=True)
