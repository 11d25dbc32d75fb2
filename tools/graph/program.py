"""The variables of a conversation as a program: how each was made, not its value.

A program is small, and outlives the process that evaluates it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from pyoxigraph import Literal

from agentlm.tools.graph.graph import Graph, GraphError, Term, Terms
from agentlm.tools.graph.protocol import ProgramStep

_REMEMBERED_TERMS = 2_000_000
_DIGITS = 9


class Evaluator:
    """Evaluates programs, and caches values as long as there is room."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known: OrderedDict[Any, Terms] = OrderedDict()
        self._size = 0

    def operand(self, program: tuple[ProgramStep, ...], name: str) -> Terms:
        """The value of `#n` or of an entity's name."""
        if not name.strip().startswith("#"):
            return frozenset([self.graph.entity(name.strip())])
        number = name.strip()[1:]
        # `²` is a digit but not a number; nor are more digits than Python converts.
        if not number.isdecimal() or len(number) > _DIGITS or int(number) >= len(program):
            known = ", ".join(f"#{index}" for index in range(len(program))) or "none yet"
            raise GraphError(f"there is no variable {name}; the variables are: {known}")
        return self.value(program[: int(number) + 1])

    def value(self, program: tuple[ProgramStep, ...]) -> Terms:
        """The value of a program's last variable."""
        if program in self._known:
            self._known.move_to_end(program)
            return self._known[program]
        value = self._evaluate(program[-1], program[:-1])
        self._known[program] = value
        self._size += len(value)
        while self._size > _REMEMBERED_TERMS and len(self._known) > 1:
            self._size -= len(self._known.popitem(last=False)[1])
        return value

    def _evaluate(self, step: ProgramStep, before: tuple[ProgramStep, ...]) -> Terms:
        operands = [self.operand(before, name) for name in step.operands]
        first = operands[0]
        match step.operation:
            case "get_neighbors":
                return self.graph.neighbors(first, step.edge)
            case "intersection":
                return first & operands[1]
            case "argmax" | "argmin":
                return self.graph.extreme(first, step.edge, largest=step.operation == "argmax")
            case "count":
                return frozenset[Term]([Literal(len(first))])
