"""The graph, explored by sets of entities: the meaning of AgentBench's functions.

Every function takes and returns sets of terms. A relation is an edge's name; `^relation` is the
same edge in the opposite direction. An attribute is a relation to a number or a date, by which a
set can be sorted.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from pyoxigraph import BlankNode, Literal, NamedNode, QuerySolution, QuerySolutions, Store, Triple

from agentlm.tools.graph.labels import Labels
from agentlm.tools.graph.names import LABELS, PREFIXES, RDF_TYPE, expand, local, shorten

Term: TypeAlias = NamedNode | BlankNode | Literal | Triple
Terms: TypeAlias = Set[Term]

Key: TypeAlias = tuple[int, float, str]

MOST_TERMS = 200_000
"""Larger sets are refused: the question has to be narrower."""
_SAMPLED = 100
_EDGES = 5_000
"""How many entities of a set, and how many of their edges, are looked at for relation names."""
_BATCH = 2_000
_GLOSS_CHARS = 80
_XSD = PREFIXES["xsd"]
_NUMBERS = {
    _XSD + name
    for name in ("integer", "decimal", "double", "float", "int", "long", "nonNegativeInteger")
}
_DATES = {_XSD + name for name in ("date", "dateTime", "gYear", "gYearMonth")}
_COMPARED = ", ".join(f"<{iri}>" for iri in sorted(_NUMBERS | _DATES))


class GraphError(Exception):
    """The question can't be answered; the model reads the message."""


class Graph:
    """A built graph, opened for reading. Any number of processes may open it."""

    def __init__(self, directory: Path) -> None:
        self.store = Store.read_only(str(directory / "store"))
        self.labels = Labels(directory / "labels.db")

    def entity(self, name: str) -> NamedNode:
        """The entity with this identifier or label. Raises GraphError if there is none or
        several."""
        iri = expand(name)
        if iri is not None:
            node = NamedNode(iri)
            if self._known(node):
                return node
        matches = self.labels.exact(name, 6)
        if not matches:
            raise GraphError(f"there is no entity {name!r}: give an identifier or a whole label")
        if len(matches) > 1:
            listed = "; ".join(self.describe(NamedNode(iri)) for iri in matches)
            raise GraphError(f"{name!r} names several entities, take one of: {listed}")
        return NamedNode(matches[0])

    def relations(self, terms: Terms) -> list[str]:
        """Names of the edges from and to a set; edges to it have `^`. Labels are left out."""
        forward = self._predicates(terms, "?term ?edge ?other") - {*LABELS}
        backward = self._predicates(terms, "?other ?edge ?term")
        return sorted(map(shorten, forward)) + [
            f"^{name}" for name in sorted(map(shorten, backward))
        ]

    def attributes(self, terms: Terms) -> list[str]:
        """Names of the relations to numbers and dates."""
        literals = f"?term ?edge ?other FILTER (datatype(?other) IN ({_COMPARED}))"
        return sorted(map(shorten, self._predicates(terms, literals)))

    def neighbors(self, terms: Terms, relation: str) -> frozenset[Term]:
        """Everything one edge away. Raises GraphError if there is no such edge."""
        predicate, forward = self._edge(terms, relation, self.relations)
        pattern = f"?term {predicate} ?other" if forward else f"?other {predicate} ?term"
        reached: set[Term] = set()
        for _, other in self._pairs(terms, pattern):
            reached.add(other)
            if len(reached) > MOST_TERMS:
                raise GraphError(f"more than {MOST_TERMS} neighbors: narrow the set down first")
        if not reached:
            raise _no_edge(relation, self.relations(terms))
        return frozenset(reached)

    def extreme(self, terms: Terms, attribute: str, *, largest: bool) -> frozenset[Term]:
        """The terms with the largest or smallest value of an attribute."""
        predicate, _ = self._edge(terms, attribute, self.attributes)
        choose = max if largest else min
        values: dict[Term, Key] = {}
        for term, value in self._pairs(terms, f"?term {predicate} ?other"):
            if (key := _key(value)) is not None:
                values[term] = choose(key, values.get(term, key))
        if not values:
            raise _no_edge(attribute, self.attributes(terms))
        best = choose(values.values())
        return frozenset(term for term, key in values.items() if key == best)

    def label(self, term: Term) -> str:
        """The name that people use."""
        if isinstance(term, Literal | Triple):
            return term.value if isinstance(term, Literal) else str(term)
        names = (name for predicate in LABELS for name in self._values(term, predicate))
        return next(names, None) or local(term.value)

    def describe(self, term: Term) -> str:
        """Label, identifier, and its type."""
        if not isinstance(term, NamedNode):
            return self.label(term)
        kind = self.kind(term)
        gloss = next(self._values(term, PREFIXES["wn"] + "definition"), "")
        country = next(map(self.label, self._objects(term, PREFIXES["geo"] + "country")), "")
        about = ", ".join(filter(None, (kind, country, gloss[:_GLOSS_CHARS])))
        named = f"{self.label(term)} = {shorten(term.value)}"
        return f"{named} ({about})" if about else named

    def kind(self, term: Term) -> str:
        """The label of its type, or empty."""
        if isinstance(term, Literal | Triple):
            return "number" if _key(term) is not None else "value"
        return next((self.label(kind) for kind in self._objects(term, RDF_TYPE)), "")

    def _edge(
        self, terms: Terms, name: str, listed: Callable[[Terms], list[str]]
    ) -> tuple[NamedNode, bool]:
        """The edge of that full name or last part, and whether it leads away."""
        if not terms:
            raise GraphError("the variable is empty: it has no entities")
        wanted = name.strip()
        forward = not wanted.startswith("^")
        iri = expand(wanted.removeprefix("^"))
        if iri is None:
            known = listed(terms)
            alike = [one for one in known if _last(one) == _last(wanted)]
            same_way = [one for one in alike if one.startswith("^") != forward]
            if len(same_way) != 1:
                raise _no_edge(name, known)
            iri = expand(same_way[0].removeprefix("^"))
        assert iri is not None
        return NamedNode(iri), forward

    def _predicates(self, terms: Terms, pattern: str) -> set[str]:
        """Edges that a few of the terms have, from a limited number of their edges."""
        some = heapq.nsmallest(_SAMPLED, terms, key=_order)
        rows = self._ask("?edge", some, pattern, limit=_EDGES)
        return {row[0].value for row in rows if isinstance(row[0], NamedNode)}

    def _pairs(self, terms: Terms, pattern: str) -> Iterator[tuple[Term, Term]]:
        """(?term, ?other) for all terms, with many terms in one query."""
        ordered = iter(terms)
        while batch := list(islice(ordered, _BATCH)):
            for row in self._ask("?term ?other", batch, pattern):
                yield row[0], row[1]

    def _ask(
        self, wanted: str, terms: Sequence[Term], pattern: str, limit: int | None = None
    ) -> Iterable[QuerySolution]:
        values = " ".join(str(term) for term in terms if not isinstance(term, BlankNode))
        limited = f"LIMIT {limit}" if limit else ""
        query = f"SELECT {wanted} {{ VALUES ?term {{ {values} }} {pattern} }} {limited}"
        result = self.store.query(query)
        assert isinstance(result, QuerySolutions)
        return result

    def _known(self, node: NamedNode) -> bool:
        as_subject = self.store.quads_for_pattern(node, None, None, None)
        as_object = self.store.quads_for_pattern(None, None, node, None)
        return next(as_subject, None) is not None or next(as_object, None) is not None

    def _objects(self, term: NamedNode | BlankNode, predicate: str) -> Iterator[Term]:
        for quad in self.store.quads_for_pattern(term, NamedNode(predicate), None, None):
            yield quad.object

    def _values(self, term: NamedNode | BlankNode, predicate: str) -> Iterator[str]:
        rows = self._objects(term, predicate)
        return (value.value for value in rows if isinstance(value, Literal))


def _no_edge(name: str, known: list[str]) -> GraphError:
    return GraphError(f"{name!r} is not one of: {', '.join(known) or '(there are none)'}")


def _last(name: str) -> str:
    """The last part: the same for `geo:capital`, `^geo:capital` and `capital`."""
    name = name.removeprefix("^")
    return local(name[1:-1]) if name.startswith("<") else name.rpartition(":")[2]


def _order(term: Term) -> str:
    return str(term)


def _key(term: Term) -> Key | None:
    """The key for comparing a value; None if it can't be compared."""
    if not isinstance(term, Literal):
        return None
    if term.datatype.value in _NUMBERS:
        return 0, float(term.value), ""
    return (1, 0.0, term.value) if term.datatype.value in _DATES else None
