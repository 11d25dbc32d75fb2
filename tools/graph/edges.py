"""Edge lists: CSV or TSV files with three columns, an edge a row.

The first row may name the columns (subject, relation, object, or similar). A cell with a number is
a number; any other is an entity with this text as its label.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from agentlm.errors import OperatorError
from agentlm.tools.graph.names import LABEL, minted
from agentlm.tools.graph.ntriples import link, number, text

_HEADERS = {"subject", "source", "head", "from", "s"}
SUFFIXES = {".csv": ",", ".tsv": "\t"}
"""Suffixes of edge lists, with their delimiters."""


def triples(path: Path) -> Iterator[str]:
    """The graph in N-Triples. Raises OperatorError with the first invalid row."""
    labelled: set[str] = set()
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.reader(file, delimiter=SUFFIXES[path.suffix]), start=1):
            if line == 1 and row and row[0].strip().lower() in _HEADERS:
                continue
            if len(row) != 3 or not all(cell.strip() for cell in row):
                raise OperatorError(f"{path}, line {line}: wanted 3 columns, got {len(row)}: {row}")
            subject, relation, target = row
            yield from _edge(subject, relation, target, labelled)


def _edge(subject: str, relation: str, target: str, labelled: set[str]) -> Iterator[str]:
    own, predicate = minted("edge", subject), minted("edge", relation)
    yield from _label(own, subject, labelled)
    value = _number(target)
    if value is not None:
        yield number(own, predicate, value)
    else:
        yield from _label(minted("edge", target), target, labelled)
        yield link(own, predicate, minted("edge", target))


def _label(own: str, label: str, labelled: set[str]) -> Iterator[str]:
    if own not in labelled:
        labelled.add(own)
        yield text(own, LABEL, label.strip())


def _number(cell: str) -> float | None:
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        return value if abs(value) < float("inf") else None
    return None
