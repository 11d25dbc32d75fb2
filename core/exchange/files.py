"""Rows of files and of data sets on the hub, in every format that `agentlm.exchange` reads.

Files are JSON lines, JSON lists or parquet, perhaps packed by gzip. If a file's name is wrong, its
first bytes tell what it is. A row's keys tell its format, so one file may mix formats. A row that
can't be read is never skipped silently: it comes out as `Malformed`, with its place. Rows stream:
neither a whole file nor a row of more than `MOST_CHARACTERS` is ever in memory.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO, cast

from pydantic_core import to_json

from agentlm.errors import OperatorError
from agentlm.exchange import read_row
from agentlm.exchange.keys import Columns, short
from agentlm.trajectory import Trajectory

MOST_CHARACTERS = 16 << 20
"""Limit for one row."""
MOST_MALFORMED = 0.05
"""Largest share of a file's rows, by default."""
PLACE = "place"
"""The key in an imported trajectory's metadata for the place of its row."""
_SUFFIXES = (".jsonl", ".json", ".parquet")
_CHUNK = 1 << 20
_SHOWN = 3
_BROKEN = (OSError, EOFError, zlib.error)
"""Raised by reading a file that is cut off or unreadable."""


class _UnreadableError(Exception):
    """The rest of a file can't be split into rows."""


class Malformed(NamedTuple):
    """A row of no known format."""

    place: str
    """File and line; in lists and tables, file and row."""
    reason: str


Numbered = tuple[int, object]
"""A row with its line number or its own number."""


Reader = Callable[[object], Sequence[Trajectory]]
"""Makes trajectories of a row; raises ValueError if it can't."""


def read_single(row: object) -> Sequence[Trajectory]:
    """A row that is one trajectory, of any format."""
    return (read_row(row),)


def read_rows(
    name: str, columns: Columns | None = None, reader: Reader = read_single
) -> Iterator[Trajectory | Malformed]:
    """The rows of a file, of all files in a directory, or of a data set on the hub (`org/name`).

    Raises OperatorError if there is no such file, or if the hub can't be reached.
    """
    columns = columns or Columns()
    for path, called in _files(name):
        yield from read_file(path, called, columns, reader)
    columns.check_used(name)


def read_file(
    path: Path, called: str, columns: Columns, reader: Reader = read_single
) -> Iterator[Trajectory | Malformed]:
    """The rows of one file; `called` is its name in messages. Its suffix may be wrong.

    Raises OperatorError if it can't be read to its end.
    """
    try:
        for number, row in _objects(path):
            yield from _parse(row, f"{called}:{number}", columns, reader)
    except _BROKEN as error:
        raise OperatorError(f"{called} can't be read: {error}") from error
    except _UnreadableError as error:
        raise OperatorError(f"{called}: {error}") from error


def within_limit(
    rows: Iterable[Trajectory | Malformed], name: str, most: float
) -> Iterator[Trajectory | Malformed]:
    """The rows of a file; at its end OperatorError if it had none, or too many malformed ones."""
    seen = malformed = 0
    examples: dict[str, str] = {}
    for row in rows:
        seen += 1
        if isinstance(row, Malformed):
            malformed += 1
            if len(examples) < _SHOWN:
                examples.setdefault(row.reason, row.place)
        yield row
    if not seen:
        raise OperatorError(f"{Path(name).name} has no rows")
    if malformed > most * seen:
        listing = "".join(f"\n  {place}: {reason}" for reason, place in examples.items())
        raise OperatorError(
            f"{malformed:,} of {seen:,} rows of {Path(name).name} can't be read, and only "
            f"{most:.0%} may be so (max-malformed):{listing}"
        )


def place_of(trajectory: Trajectory) -> str:
    """File and line of an imported row; the id of a recorded one."""
    return str(trajectory.metadata.get(PLACE, trajectory.id))


def _parse(
    row: object, place: str, columns: Columns, reader: Reader
) -> Sequence[Trajectory | Malformed]:
    if isinstance(row, Malformed):
        return (row._replace(place=place),)
    try:
        _check_text(row)
        trajectories = reader(columns.rename(row))
    except (ValueError, TypeError) as error:
        return (Malformed(place, " ".join(str(error).split())),)
    except RecursionError:
        return (Malformed(place, "nested too deeply"),)
    if not all(trajectory.steps for trajectory in trajectories):
        return (Malformed(place, "it has no turns"),)
    for trajectory in trajectories:
        trajectory.metadata[PLACE] = place
    return trajectories


def _check_text(row: object) -> None:
    """Raise ValueError for text that no tokenizer reads, which comes from bytes that aren't
    UTF-8."""
    try:
        to_json(row, bytes_mode="base64")
    except ValueError:
        raise ValueError("not Unicode: half a surrogate pair, or a byte that is no UTF-8") from None


# -- files ---------------------------------------------------------------------------------------


def _files(name: str) -> list[tuple[Path, str]]:
    """The files that a name stands for, each with its name in messages."""
    path = Path(name).expanduser()
    if path.is_file():
        if _suffix(path) not in _SUFFIXES:
            raise OperatorError(f"{path}: expected {', '.join(_SUFFIXES)}, or one of them with .gz")
        return [(path, path.name)]
    if path.is_dir():
        data_files = [file for file in sorted(path.rglob("*")) if _suffix(file) in _SUFFIXES]
        if not data_files:
            raise OperatorError(f"{path} holds no {', '.join(_SUFFIXES)} file")
        return [(file, str(file.relative_to(path))) for file in data_files]
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _files(str(_download(name)))
    raise OperatorError(f"there is no file {name}")


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    patterns = [f"*{suffix}{packed}" for suffix in _SUFFIXES for packed in ("", ".gz")]
    try:
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).splitlines()[0]
        raise OperatorError(
            f"there is no file {name}, and the data set of that name can't be had from the hub: "
            f"{reason}"
        ) from error


def _objects(path: Path) -> Iterator[Numbered]:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head == b"PAR1":
            yield from _parquet(path)
        elif _suffix(path) == ".parquet" and head[:1] not in (b"{", b"["):
            raise _UnreadableError("it is not a parquet file")
        else:
            packed = gzip.GzipFile(fileobj=file) if head[:2] == b"\x1f\x8b" else file
            yield from _json(cast(BinaryIO, packed))


# -- JSON ----------------------------------------------------------------------------------------


def _json(file: BinaryIO) -> Iterator[Numbered]:
    begin = file.read(2)
    file.seek(0)
    # PowerShell writes UTF-16; some editors write a byte order mark before UTF-8.
    wide = begin in (b"\xff\xfe", b"\xfe\xff")
    encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
    with TextIOWrapper(file, encoding=encoding, errors=errors) as text:
        opening = text.read(_PEEK).lstrip()
        text.seek(0)
        # An object that is written over several lines begins with a line of its own.
        spread = opening.split("\n", 1)[0].strip() in _OPENINGS or _LIST.match(opening)
        yield from _values(text) if spread else _lines(text)


def _lines(text: TextIO) -> Iterator[Numbered]:
    number = 0
    while line := text.readline(MOST_CHARACTERS):
        number += 1
        if len(line) == MOST_CHARACTERS and not line.endswith("\n"):
            raise _UnreadableError(f"row {number} has more than {MOST_CHARACTERS:,} characters")
        if line.strip():
            yield number, _loads(line)


def _loads(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return Malformed("", f"not JSON: {error}, got {short(line.strip())}")


def _values(text: TextIO) -> Iterator[Numbered]:
    """The items of a list, or values one after another, wherever the lines end.

    Raises _UnreadableError at a broken one: there is no telling where the next begins.
    """
    decode = json.JSONDecoder().raw_decode
    buffer, at, number = text.read(_PEEK), 0, 1
    listed = _LIST.match(buffer) is not None
    if listed:
        at = buffer.index("[") + 1
    while True:
        at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]
        try:
            value, end = decode(buffer, at)
        except (ValueError, RecursionError) as error:
            # Read as much again, so that a long row is not parsed again for each chunk of it.
            more = text.read(max(_CHUNK, len(buffer) - at))
            buffer, at = buffer[at:] + more, 0
            if more and len(buffer) < 2 * MOST_CHARACTERS:
                continue
            if buffer.strip() == ("]" if listed else ""):
                return
            raise _UnreadableError(
                f"row {number} is not JSON, and where the next one begins can't be told: {error}"
            ) from None
        yield number, value
        at, number = end, number + 1


_PEEK = 4096
_OPENINGS = ("{", "[")
_LIST = re.compile(r"\s*\[\s*[{\]]")
_BETWEEN = re.compile(r"[\s,]*")


# -- tables --------------------------------------------------------------------------------------


def _parquet(path: Path) -> Iterator[Numbered]:
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        number = 0
        for batch in ParquetFile(path).iter_batches(batch_size=256):
            rows: list[dict[str, Any]] = batch.to_pylist()
            yield from enumerate(rows, number + 1)
            number += len(rows)
    except ArrowInvalid as error:
        raise _UnreadableError(f"it is not a parquet file: {error}") from error
