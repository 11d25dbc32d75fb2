"""Token rows on disk: written as a stream, read by memory mapping.

A row is one trajectory as the trainer sees it: its ids, and for each id whether the model learns
it. Four files hold any number of rows. Rows that are learned from by their reward have three more:

    ids.bin       int32, all rows end to end
    loss.bin      uint8, one per id
    rows.npy      per row: its start, its length, how many of its ids are trained on
    names.txt     per row: the trajectory it came from, one line each
    credit.bin    float32, one per id: how strongly the reward speaks for it (> 0) or against it
    recorded.bin  float32, one per id: its log-probability when it was sampled
    judged.npy    per row: the rows it is compared with, and the age of the sampling weights

If the log-probabilities of all ids are needed and were not recorded, `reference.bin` has those
under the weights that the training starts from.

Memory does not grow with the tokens; a row costs the 24 bytes of `rows.npy`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentlm.finetune.run import damaged

Ids = NDArray[np.int32]
Loss = NDArray[np.uint8]
Values = NDArray[np.float32]


class TokenRow(NamedTuple):
    """A row as it is read."""

    ids: Ids
    loss: Loss
    """For each id whether it is trained on."""
    credit: Values | None = None
    """For each id, how strongly its row's reward speaks for it (> 0) or against it (< 0). None: the
    row is imitated."""
    recorded: Values | None = None
    """For each id its log-probability under the weights that it is compared with."""
    number: int = 0
    """The row's index in its source."""
    pair: int = -1
    """Rows with the same number are computed together, because their losses depend on each
    other."""
    distilled: bool = False
    """Whether the row is learned by staying close to the base's own probabilities in it."""


REFERENCE = "reference.bin"
"""Like recorded.bin, under the weights that the training started from."""
BUFFER = 1 << 20
"""Bytes of a few hundred rows."""


class Row(NamedTuple):
    """One trajectory as the trainer sees it."""

    name: str
    """Id of the trajectory, or the file and line it comes from."""
    ids: Sequence[int]
    loss: bytes
    """One per id: 1 if the model learns it, else 0."""
    judged: Judged | None = None
    """Set if the row is learned from by its reward."""


class Judged(NamedTuple):
    """Data of a row that is learned from by its reward, beyond ids and marks."""

    recorded: Values
    """One per id: its log-probability when it was sampled; NaN if unknown."""
    credit: Values | None = None
    """One per id; None until all rows that it is compared with are there."""
    unit: int = 0
    """Rows of one unit are adjacent, and belong to one step."""
    pair: int = -1
    age: int = 0
    """Number of trainings between the weights that sampled it and those being trained."""


class RowWriter:
    """Appends rows, of which either all are judged or none. `close` makes them readable."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._judged: _JudgedWriter | None = None
        self._ids = (directory / "ids.bin").open("wb", BUFFER)
        self._loss = (directory / "loss.bin").open("wb", BUFFER)
        self._names = (directory / "names.txt").open("w", newline="\n")
        self._rows = array("q")
        self._end = 0

    def add(self, row: Row) -> None:
        """Append one row. Raises ValueError if ids and loss differ in length."""
        if len(row.ids) != len(row.loss):
            raise ValueError(f"{row.name}: {len(row.ids)} ids but {len(row.loss)} loss marks")
        self._ids.write(array("i", row.ids).tobytes())
        self._loss.write(row.loss)
        self._names.write(row.name.replace("\n", " ") + "\n")
        self._rows.extend((self._end, len(row.ids), row.loss.count(1)))
        self._end += len(row.ids)
        if row.judged is not None:
            self._judged = self._judged or _JudgedWriter(self._directory)
            self._judged.add(row.judged)

    def close(self) -> None:
        """Write the index. After this the rows can be opened."""
        if self._judged is not None:
            self._judged.close()
        for file in (self._ids, self._loss, self._names):
            file.close()
        np.save(self._directory / "rows.npy", np.frombuffer(self._rows, np.int64).reshape(-1, 3))


class _JudgedWriter:
    """Appends the additional data of judged rows."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._recorded = (directory / "recorded.bin").open("wb", BUFFER)
        self._credit = (directory / "credit.bin").open("wb", BUFFER)
        self._table = array("q")

    def add(self, judged: Judged) -> None:
        credit = np.zeros_like(judged.recorded) if judged.credit is None else judged.credit
        self._recorded.write(judged.recorded.astype(np.float32).tobytes())
        self._credit.write(credit.astype(np.float32).tobytes())
        self._table.extend((judged.unit, judged.pair, judged.age))

    def close(self) -> None:
        for file in (self._recorded, self._credit):
            file.close()
        table = np.frombuffer(self._table, np.int64).reshape(-1, 3)
        np.save(self._directory / "judged.npy", table)


@dataclass(frozen=True)
class JudgedRows:
    """The additional data of a set's rows, memory-mapped."""

    recorded: Values
    credit: Values
    table: NDArray[np.int64]
    """(rows, 3): unit, pair, age."""
    reference: Values | None
    """Log-probability of each id under the weights that the training started from, if it was
    computed, because no row had it recorded."""

    @classmethod
    def open(cls, directory: Path, tokens: int, rows: int) -> JudgedRows:
        """Map the files. Raises OperatorError if one is missing or damaged."""
        path, kind = directory / "judged.npy", np.dtype(np.float32)
        table = _load_integers(path)
        if len(table) != rows:
            raise damaged(path, f"{len(table)} rows of {rows}")
        reference = directory / REFERENCE
        return cls(
            _map(directory / "recorded.bin", kind, tokens),
            _map(directory / "credit.bin", kind, tokens),
            table,
            _map(reference, kind, tokens) if reference.exists() else None,
        )

    def of(self, start: int, length: int) -> tuple[Values, Values]:
        """Credit and log-probabilities of one row."""
        place = slice(start, start + length)
        recorded = self.recorded[place]
        if self.reference is not None and np.isnan(recorded).all():
            recorded = self.reference[place]
        return self.credit[place], recorded


@dataclass(frozen=True)
class Rows:
    """A set of rows, memory-mapped."""

    ids: Ids
    loss: Loss
    table: NDArray[np.int64]
    """(rows, 3): start, length, trained ids."""
    directory: Path
    judged: JudgedRows | None = None

    @classmethod
    def open(cls, directory: Path) -> Rows:
        """Map what a RowWriter wrote. Raises OperatorError if a file is missing or damaged."""
        table = _load_table(directory / "rows.npy")
        tokens = int(table[:, 1].sum())
        ids = _map(directory / "ids.bin", np.dtype(np.int32), tokens)
        loss = _map(directory / "loss.bin", np.dtype(np.uint8), tokens)
        judged = None
        if (directory / "judged.npy").exists():
            judged = JudgedRows.open(directory, tokens, len(table))
        return cls(ids, loss, table, directory, judged)

    def __len__(self) -> int:
        return len(self.table)

    def row(self, index: int) -> tuple[Ids, Loss]:
        """Ids and loss marks of one row, without a copy."""
        start, length, _ = self.table[index]
        return self.ids[start : start + length], self.loss[start : start + length]

    def token_row(self, index: int) -> TokenRow:
        """One row with everything that training needs."""
        ids, loss = self.row(index)
        if self.judged is None:
            return TokenRow(ids, loss, number=index)
        credit, recorded = self.judged.of(*self.table[index, :2])
        return TokenRow(ids, loss, credit, recorded, index, int(self.judged.table[index, 1]))

    @property
    def unit_ends(self) -> NDArray[np.int64]:
        """For each unit (rows that must be in one step), one past its last row."""
        if self.judged is None:
            return np.arange(1, len(self) + 1)
        units = self.judged.table[:, 0]
        return np.append(np.flatnonzero(np.diff(units)) + 1, len(self))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self.table[:, 1]

    @property
    def trained(self) -> NDArray[np.int64]:
        """Number of tokens of each row that the model learns."""
        return self.table[:, 2]

    def names(self) -> Iterator[str]:
        """Where each row came from, in order. Raises OperatorError if a name is missing."""
        path, count = self.directory / "names.txt", 0
        try:
            with path.open(newline="\n") as lines:
                for count, line in enumerate(lines, 1):
                    if not line.endswith("\n"):
                        raise damaged(path, f"its line {count} has no end")
                    yield line.rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise damaged(path, str(error)) from error
        if count != len(self):
            raise damaged(path, f"{count} names of {len(self)} rows")


def _load_integers(path: Path) -> NDArray[np.int64]:
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, str(error)) from error
    if table.ndim != 2 or table.shape[1] != 3 or table.dtype != np.int64:
        raise damaged(path, f"{table.dtype} of shape {table.shape}, not int64 of (rows, 3)")
    return np.asarray(table)


def _load_table(path: Path) -> NDArray[np.int64]:
    table = _load_integers(path)
    starts, lengths, trained = table.T
    follow = np.array_equal(starts, np.cumsum(lengths) - lengths)
    if not follow or (trained < 0).any() or (trained > lengths).any():
        raise damaged(path, "its rows do not follow each other")
    return table


def _map(path: Path, kind: np.dtype[Any], tokens: int) -> NDArray[Any]:
    try:
        size = path.stat().st_size
        if size != tokens * kind.itemsize:
            wanted = tokens * kind.itemsize
            raise damaged(path, f"{size:,} bytes, and its rows are {wanted:,}")
        # An empty file can't be mapped.
        return np.memmap(path, kind, "r") if size else np.empty(0, kind)
    except OSError as error:
        raise damaged(path, str(error)) from error
