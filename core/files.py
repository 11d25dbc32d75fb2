"""Files that are complete or absent, even if writing them is interrupted; and shared files."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agentlm.errors import OperatorError


def write_text(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file so that a power cut leaves either the old one or the new one.

    With `replace=False`, raises FileExistsError if it exists, even if another process just made it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        (os.replace if replace else os.link)(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file's content, or a directory's names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_lines(text: str) -> list[str]:
    """The lines of a file that has a JSON value on each.

    Only the newline ends one: others that `str.splitlines` knows (U+2028, U+0085) may stand in the
    texts of a value.
    """
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def new_id() -> str:
    """32 hexadecimal digits that sort by creation time; the last half is random."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


def shared_place(name: str, earlier: Sequence[Path]) -> Path:
    """The place for something that takes minutes to make and is the same for every data directory.

    If one of the `earlier` places has it, it stays there. Otherwise it belongs in the user's cache
    (`$XDG_CACHE_HOME/agentlm`, `~/.cache/agentlm`). If that can't be written, the first of the
    earlier places is used.
    """
    for place in earlier:
        if place.exists():
            return place
    cache = _user_cache()
    if cache is not None and ((cache / name).exists() or _writable(cache)):
        return cache / name
    return earlier[0]


def _user_cache() -> Path | None:
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        # The specification says that relative paths are ignored.
        return (configured if configured.is_absolute() else Path.home() / ".cache") / "agentlm"
    except RuntimeError:
        return None  # the user has no home


def _writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)


@contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock that only one process at a time can have. The kernel frees it if the process
    dies.

    Without `wait`, raises BlockingIOError if another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def alone(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock during work that must not be done twice at once.

    Raises OperatorError, with `refusal` and the other process, if another process has the lock.
    """
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(path, wait=False))
        except BlockingIOError as error:
            raise OperatorError(f"{refusal} (process {path.read_text()})") from error
        yield
