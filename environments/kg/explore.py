"""The graph as the environment uses it: in this process, with variables that can be looked into."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from pyoxigraph import Literal, NamedNode

from agentlm.agent.tool import Observation
from agentlm.environments.splits import split_of
from agentlm.environments.task import Action, Split
from agentlm.tools.graph.graph import Graph
from agentlm.tools.graph.graph_worker import GraphWorker
from agentlm.tools.graph.program import Evaluator
from agentlm.tools.graph.protocol import ProgramStep, Question
from agentlm.tools.graph.tools import FUNCTIONS

PLAYED = (
    "get_relations",
    "get_neighbors",
    "intersection",
    "get_attributes",
    "argmax",
    "argmin",
    "count",
)
"""AgentBench's seven functions."""


class Explorer:
    """One open graph. Not for concurrent use."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.arguments = {name: tuple(FUNCTIONS[name][0].model_fields) for name in PLAYED}
        """Function → its arguments, in order."""
        self.subjects = lru_cache(maxsize=64)(self._subjects)
        self._worker = GraphWorker(graph)
        self._evaluator = Evaluator(graph)

    def has(self, predicate: str) -> bool:
        """Whether the graph has an edge of this kind."""
        edges = self.graph.store.quads_for_pattern(None, NamedNode(predicate), None, None)
        return next(edges, None) is not None

    def trail(self) -> Trail:
        """A conversation without variables yet."""
        return Trail(self._worker, self._evaluator)

    def _subjects(self, predicate: str, split: Split) -> tuple[NamedNode, ...]:
        """Every entity of a split with an edge of this kind."""
        quads = self.graph.store.quads_for_pattern(None, NamedNode(predicate), None, None)
        subjects = {quad.subject for quad in quads if isinstance(quad.subject, NamedNode)}
        return tuple(in_split(sorted(subjects, key=lambda node: node.value), split))


class Trail:
    """The variables of one conversation. The player sees their types and never their values."""

    def __init__(self, worker: GraphWorker, evaluator: Evaluator) -> None:
        self._worker = worker
        self._evaluator = evaluator
        self._program: tuple[ProgramStep, ...] = ()

    @property
    def variables(self) -> int:
        """How many there are."""
        return len(self._program)

    def call(self, action: Action) -> Observation:
        """Evaluate one call; what is wrong with it is a failed observation."""
        question = Question(
            function=action.name, arguments=action.arguments, program=self._program, names=0
        )
        answer = self._worker.answer(question)
        if answer.error:
            return Observation(f"error: {answer.error}", failed=True)
        if answer.step is not None:
            self._program = (*self._program, answer.step)
        return Observation(answer.text)

    def values(self, variable: str) -> frozenset[str]:
        """What a variable holds. Raises GraphError if there is no such variable."""
        terms = self._evaluator.operand(self._program, variable)
        return frozenset(term.value for term in terms if isinstance(term, NamedNode | Literal))


def in_split(nodes: Iterable[NamedNode], split: Split) -> list[NamedNode]:
    """Those entities that may appear in a split."""
    return [node for node in nodes if split_of(node.value) == split]
