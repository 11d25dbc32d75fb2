"""Token rows on disk: written as they stream by, read by memory mapping.

A row is one trajectory as the trainer sees it: its ids, and for each id whether the model learns to
say it. Four files hold any number of rows:

    ids.bin       int32, all rows end to end
    loss.bin      uint8, one per id
    rows.npy      per row: where it begins, its length, how many of its ids are trained on
    names.txt     per row: the trajectory it came from, one line each

Memory does not grow with the tokens; per row it is the 24 bytes of `rows.npy`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Loss = NDArray[np.uint8]

BUFFER = 1 << 20
"""Bytes of some hundred rows."""


class Row(NamedTuple):
    """One trajectory as the trainer sees it."""

    name: str
    """Id of the trajectory, or where in which file it stood."""
    ids: Sequence[int]
    loss: bytes
    """One per id: 1 if the model learns to say it, else 0."""


class RowWriter:
    """Appends rows; `close` makes them readable. A context manager."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._ids = (directory / "ids.bin").open("wb", BUFFER)
        self._loss = (directory / "loss.bin").open("wb", BUFFER)
        self._names = (directory / "names.txt").open("w")
        self._rows = array("q")
        self._end = 0

    def add(self, row: Row) -> None:
        """Append one row. Raises ValueError if ids and loss differ in length."""
        if len(row.ids) != len(row.loss):
            raise ValueError(f"{row.name}: {len(row.ids)} ids but {len(row.loss)} loss marks")
        self._ids.write(array("i", row.ids).tobytes())
        self._loss.write(row.loss)
        self._names.write(f"{row.name}\n")
        self._rows.extend((self._end, len(row.ids), row.loss.count(1)))
        self._end += len(row.ids)

    def close(self) -> None:
        """Write the index; the rows can be opened then."""
        for file in (self._ids, self._loss, self._names):
            file.close()
        np.save(self._directory / "rows.npy", np.frombuffer(self._rows, np.int64).reshape(-1, 3))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Rows:
    """A set of rows, memory-mapped."""

    ids: Ids
    loss: Loss
    table: NDArray[np.int64]
    """(rows, 3): start, length, trained ids."""
    directory: Path

    @classmethod
    def open(cls, directory: Path) -> Rows:
        """Map what a RowWriter wrote."""
        table = np.load(directory / "rows.npy")
        if not len(table):  # an empty file can't be mapped
            return cls(np.empty(0, np.int32), np.empty(0, np.uint8), table, directory)
        ids = np.memmap(directory / "ids.bin", np.int32, "r")
        return cls(ids, np.memmap(directory / "loss.bin", np.uint8, "r"), table, directory)

    def __len__(self) -> int:
        return len(self.table)

    def row(self, index: int) -> tuple[Ids, Loss]:
        """Ids and loss marks of one row, without a copy."""
        start, length, _ = self.table[index]
        return self.ids[start : start + length], self.loss[start : start + length]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self.table[:, 1]

    @property
    def trained(self) -> NDArray[np.int64]:
        """Tokens of each row that the model learns to say."""
        return self.table[:, 2]

    def names(self) -> Iterator[str]:
        """Where each row came from, in order."""
        with (self.directory / "names.txt").open() as lines:
            yield from (line.rstrip("\n") for line in lines)
