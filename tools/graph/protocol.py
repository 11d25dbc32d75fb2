"""Messages between the server and the graph's process, as JSON."""

from __future__ import annotations

from typing import Literal

from agentlm.messages import Frozen

Operation = Literal["get_neighbors", "intersection", "argmax", "argmin", "count"]


class ProgramStep(Frozen):
    """How one variable is made from earlier ones."""

    operation: Operation
    operands: tuple[str, ...]
    """`#n`, or an entity's name."""
    edge: str = ""
    """Relation or attribute."""


class Question(Frozen):
    """One call of a tool."""

    function: str
    arguments: dict[str, str]
    program: tuple[ProgramStep, ...] = ()
    """How the conversation's variables were made, `#0` first."""
    names: int = 5
    """How many entities a new variable's observation names."""
    rows: int = 50


class Answer(Frozen):
    """The result: a text or an error."""

    text: str = ""
    error: str = ""
    step: ProgramStep | None = None
    """The new variable. Its number is the previous length of the program."""
