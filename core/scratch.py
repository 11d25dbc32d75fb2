"""Directories for one process under the system's temporary directory."""

from __future__ import annotations

import os
import shutil
import time
import weakref
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

YOUNG_S = 2
"""A directory is made and then locked; one that is younger may be between the two."""


def scratch(kind: str) -> TemporaryDirectory[str]:
    """A fresh directory of this process. Those of the same kind that killed processes left go."""
    for path in Path(gettempdir()).glob(f"agentlm-{kind}-*"):
        with suppress(OSError):  # held, another user's, or gone
            _sweep(path)
    made = TemporaryDirectory(prefix=f"agentlm-{kind}-", ignore_cleanup_errors=True)
    # Held until this process ends, however it ends. A number of a process would not do: another
    # container that shares the directory doesn't know it.
    held = os.open(made.name, os.O_RDONLY | os.O_DIRECTORY)
    flock(held, LOCK_EX)
    weakref.finalize(made, os.close, held)
    return made


def _sweep(path: Path) -> None:
    """Remove a directory. Raises OSError if it is held, or not ours to open."""
    if time.time() - path.lstat().st_mtime < YOUNG_S:
        return
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        flock(directory, LOCK_EX | LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(directory)
