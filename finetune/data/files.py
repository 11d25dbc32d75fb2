"""Training data from files, and from the hub: every format that `agentlm.exchange` reads.

JSON lines, JSON lists and parquet; each row's format is told by its keys, so one file may mix them.
A row that can't be read is never skipped in silence: it comes out as `Malformed`, with its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import to_json

from agentlm.errors import OperatorError
from agentlm.exchange import FORMATS, FormatName
from agentlm.messages import ToolCall
from agentlm.prompt.grammar import parse
from agentlm.trajectory import Origin, Step, Trajectory


class Malformed(NamedTuple):
    """A row that is of no known format."""

    place: str
    """File and line, or row."""
    reason: str


def read_rows(name: str) -> Iterator[Trajectory | Malformed]:
    """The rows of a file, of all files of a directory, or of a data set on the hub (`org/name`).

    Raises OperatorError if there is no such file, or if the hub can't be reached.
    """
    for path in _files(name):
        for number, row in enumerate(_objects(path), 1):
            yield _parse(row, f"{path.name}:{number}")


def format_of(row: object) -> FormatName:
    """Which format a row's keys belong to. Raises ValueError if to none."""
    keys = row.keys() if isinstance(row, dict) else ()
    if "conversations" in keys:
        turns = row["conversations"]  # type: ignore[index]
        marked = any(isinstance(turn, dict) and "loss" in turn for turn in turns)
        return "agentinstruct" if marked else "sharegpt"
    if "messages" in keys:
        return "openai"
    if "steps" in keys:
        return "jsonl"
    raise ValueError("no `conversations`, `messages` or `steps`: not a format that can be read")


def parsed(row: Trajectory | Malformed) -> Trajectory | Malformed:
    """The row with what its turns say, where the format told only their text: filters look at it.

    A turn without the grammar's labels stays text: plain chat, and forms of other agents.
    """
    if isinstance(row, Malformed):
        return row
    return row.model_copy(update={"steps": tuple(map(_read, row.steps))})


def _read(step: Step) -> Step:
    if step.origin is not Origin.IMPORTED or step.role != "assistant" or step.call or step.answer:
        return step
    said = parse(step.text)
    if said.name is None and said.answer is None:
        return step
    # An action of AgentInstruct is a name without arguments to this grammar.
    call = said.name and ToolCall(id="", name=said.name, arguments=said.arguments or "")
    read = {"thought": said.thought, "call": call or None, "answer": said.answer}
    return step.model_copy(update=read)


def _parse(row: object, place: str) -> Trajectory | Malformed:
    if isinstance(row, Malformed):
        return row._replace(place=place)
    try:
        _check_text(row)
        trajectory = FORMATS[format_of(row)].read(row)
    except (ValueError, TypeError) as error:
        return Malformed(place, str(error))
    return trajectory if trajectory.steps else Malformed(place, "it has no turns")


def _check_text(row: object) -> None:
    """Raise ValueError for what no tokenizer reads; bytes that are not UTF-8 became such text."""
    try:
        to_json(row, bytes_mode="base64")
    except ValueError:
        raise ValueError("not Unicode: half a surrogate pair, or a byte that is no UTF-8") from None


def _files(name: str) -> list[Path]:
    path = Path(name).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*")) if file.suffix in _READERS]
        if not found:
            raise OperatorError(f"{path} holds no {', '.join(_READERS)} file")
        return found
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _files(str(_download(name)))
    raise OperatorError(f"there is no file {name}")


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    patterns = [f"*{suffix}" for suffix in _READERS]
    try:
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).splitlines()[0]
        raise OperatorError(
            f"there is no file {name}, and the data set of that name can't be had from the hub: "
            f"{reason}"
        ) from error


def _objects(path: Path) -> Iterator[object]:
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise OperatorError(f"{path}: expected {', '.join(_READERS)}")
    try:
        yield from reader(path)
    except OSError as error:
        raise OperatorError(f"{path} can't be read: {error}") from error


def _json_lines(path: Path) -> Iterator[object]:
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            if line.strip():
                yield _loads(line)


def _loads(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return Malformed("", f"not JSON: {error}")


def _json_list(path: Path) -> Iterator[object]:
    value = _loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    yield from value if isinstance(value, list) and not isinstance(value, Malformed) else [value]


def _parquet(path: Path) -> Iterator[object]:
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path)
    except ArrowInvalid as error:
        raise OperatorError(f"{path} is no parquet file: {error}") from error
    for batch in file.iter_batches(batch_size=256):
        rows: list[dict[str, Any]] = batch.to_pylist()
        yield from rows


_READERS = {".jsonl": _json_lines, ".json": _json_list, ".parquet": _parquet}
