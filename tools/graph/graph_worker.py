"""The process with the open graph. It can be killed if a query does not end."""

from __future__ import annotations

import heapq
import json
import sys
from pathlib import Path
from typing import Any

from pyoxigraph import NamedNode, QueryBoolean, QuerySolutions

from agentlm.tools.confinement.inside import answer_frames, confine
from agentlm.tools.graph.graph import Graph, GraphError, Terms
from agentlm.tools.graph.names import PREFIXES, shorten
from agentlm.tools.graph.program import Evaluator
from agentlm.tools.graph.protocol import Answer, ProgramStep, Question

_MEMORY_BYTES = 4 << 30
_CELL_CHARS = 300


class GraphWorker:
    """Answers questions about one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._evaluator = Evaluator(graph)

    def answer(self, question: Question) -> Answer:
        """Errors that the model can correct are returned, not raised."""
        try:
            return self._answer(question)
        except (GraphError, SyntaxError, ValueError, OSError) as error:
            return Answer(error=" ".join(str(error).split()))

    def _answer(self, question: Question) -> Answer:
        arguments, program = question.arguments, question.program
        match question.function:
            case "get_relations":
                terms = self._evaluator.operand(program, arguments["variable"])
                return Answer(text=_listed(self._graph.relations(terms)))
            case "get_attributes":
                terms = self._evaluator.operand(program, arguments["variable"])
                return Answer(text=_listed(self._graph.attributes(terms)))
            case "find_entity":
                return Answer(text=self._matches(arguments["name"], question.rows))
            case "sparql":
                return Answer(text=self._query(arguments["query"], question.rows))
            case _:
                return self._new_variable(question)

    def _new_variable(self, question: Question) -> Answer:
        values = question.arguments
        step = ProgramStep.model_validate(
            {
                "operation": question.function,
                "operands": [values[key] for key in values if key.startswith("variable")],
                "edge": values.get("relation") or values.get("attribute") or "",
            }
        )
        value = self._evaluator.value((*question.program, step))
        text = f"Variable #{len(question.program)}: {self._summary(value, question.names)}"
        return Answer(text=text, step=step)

    def _summary(self, terms: Terms, named: int) -> str:
        """Number and kind of the terms, and the names of the first few."""
        first = heapq.nsmallest(named, terms, key=str)
        kind = next((self._graph.kind(term) for term in terms), "entity") or "entity"
        if len(terms) == 1 and kind == "number":
            return f"a number: {self._graph.label(next(iter(terms)))}" if named else "a number"
        counted = f"{len(terms)} of type {kind}" if terms else "empty"
        names = ", ".join(self._graph.label(term)[:_CELL_CHARS] for term in first)
        more = ", …" if len(terms) > len(first) else ""
        return f"{counted}: {names}{more}" if names else counted

    def _matches(self, name: str, rows: int) -> str:
        matches = self._graph.labels.search(name, min(rows, 10))
        if not matches:
            raise GraphError(f"no entity has {name!r} in a label")
        return "\n".join(self._graph.describe(NamedNode(iri)) for iri in matches)

    def _query(self, query: str, rows: int) -> str:
        result = self._graph.store.query(query, prefixes=dict(PREFIXES))
        if isinstance(result, QueryBoolean):
            return "true" if result else "false"
        if not isinstance(result, QuerySolutions):
            lines = [" ".join(_cell(part) for part in triple) for triple in _first(result, rows)]
        else:
            header = " | ".join(f"?{variable.value}" for variable in result.variables)
            names = [variable.value for variable in result.variables]
            rows_read = _first(result, rows)
            lines = [header, *(" | ".join(_cell(row[name]) for name in names) for row in rows_read)]
        more = next(iter(result), None) is not None
        return "\n".join([*lines, "(there is more)" if more else "(that is all)"])


def _first(results: Any, rows: int) -> list[Any]:
    return [result for _, result in zip(range(rows), results, strict=False)]


def _cell(term: Any) -> str:
    if term is None:
        return ""
    if hasattr(term, "datatype"):
        return str(term.value).replace("\n", "\\n")[:_CELL_CHARS]
    return shorten(str(term.value))


def _listed(names: list[str]) -> str:
    return f"[{', '.join(names)}]" if names else "[] (there are none)"


def main(directory: Path) -> None:
    """Open the graph, give up everything else, and answer."""
    worker = GraphWorker(Graph(directory))
    confine(_MEMORY_BYTES)

    def answer(content: bytes) -> bytes:
        if not content:
            return b""
        question = Question.model_validate(json.loads(content))
        return worker.answer(question).model_dump_json().encode()

    answer_frames(answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
