"""What a task is, and what an environment does with it.

A task is data: it can be written down, compared and played again, and its id follows from its
content. An environment is behaviour: it opens a task as a world of its own (a database, a
sandbox), runs calls in it, and scores what came of them. Every task of ours carries the moves of
an expert, so that an environment can prove itself: the expert must score 1, an empty answer 0.

Splits are disjoint by construction: a template belongs to one split, and so does every value that
fills it (`splits.py`). Kinds of task that are held out come in `test-kinds` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from agentlm.agent.tool import Observation
from agentlm.messages import Frozen, ToolSpec

Split = Literal["train", "dev", "dev2", "test", "test-kinds"]
Scoring = Literal["agentlm", "agentbench"]
"""By whose rules answers are judged: ours, or AgentBench's own code, flaws included."""


class Action(Frozen):
    """A call that can be played anywhere: a tool's name and its arguments."""

    name: str
    arguments: dict[str, Any]


class Move(Frozen):
    """One turn of an expert: the reason, then a call or the final answer."""

    thought: str
    action: Action | None = None
    answer: str | None = None
    """Final answer; `OBSERVED` in it stands for the last observation, stripped."""


OBSERVED = "\u27e8observed\u27e9"
"""Some answers are known only once the world has been asked (a date, a process id)."""


class Task(Frozen):
    """One problem with a checkable end."""

    environment: str
    template: str
    """What it was made from; belongs to one split."""
    family: str
    """Kind of problem, for reports: `counting`, `INSERT`, `multi-hop`."""
    split: Split
    instruction: str
    """What is asked, without the environment's own preamble."""
    parameters: dict[str, Any]
    """Everything that opening and scoring it needs; JSON."""
    gold: tuple[Move, ...] = ()
    """An expert's moves, which score 1; none if the world's author gave none."""

    @cached_property
    def id(self) -> str:
        """Stable over machines and runs: a digest of what the task says."""
        content = json.dumps([self.instruction, self.parameters], sort_keys=True)
        return f"{self.environment}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


class OpenTask(Protocol):
    """A task being played: a private world."""

    async def act(self, action: Action) -> Observation:
        """Run one call whose name and arguments fit the environment's tools.

        What the player did wrong is a failed observation. An exception means that the world
        itself broke, which is never the player's fault.
        """
        ...

    async def score(self, answer: str) -> float:
        """How well it went, in [0, 1], given the final answer."""
        ...


@runtime_checkable
class EarningTask(Protocol):
    """An `OpenTask` that knows while it is played how well it goes."""

    @property
    def earned(self) -> float:
        """Reward so far, in [0, 1]: what a try without an answer gets."""
        ...

    @property
    def over(self) -> bool:
        """Whether the world has come to its end: the try then ends without an answer."""
        ...


@runtime_checkable
class StrictTask(Protocol):
    """An `OpenTask` that also judges calls that are not run."""

    async def refused(self) -> None:
        """A call did not fit the tools; the player has been told."""
        ...


@runtime_checkable
class VariedEnvironment(Protocol):
    """An `Environment` whose tasks have tools of their own."""

    def tools_of(self, task: Task) -> tuple[ToolSpec, ...]:
        """The actions of one task."""
        ...


@runtime_checkable
class PatientEnvironment(Protocol):
    """An `Environment` that says how often in a row a call may make sense, as waiting does."""

    max_equal_calls: int


MAX_EQUAL_CALLS = 5
"""So many equal calls in a row end a try: a model does not leave such a loop by itself."""


def max_equal_calls(environment: Environment) -> int:
    """The environment's own number, if it has one."""
    if isinstance(environment, PatientEnvironment):
        return environment.max_equal_calls
    return MAX_EQUAL_CALLS


def tools_of(environment: Environment, task: Task) -> tuple[ToolSpec, ...]:
    """The actions that a player of `task` is told of."""
    if isinstance(environment, VariedEnvironment):
        return environment.tools_of(task)
    return environment.tools()


class Environment(Protocol):
    """A family of tasks with one set of tools."""

    @property
    def name(self) -> str:
        """As in `--env` and in the log."""
        ...

    @property
    def max_turns(self) -> int:
        """Calls that a player has; the final answer is not one of them."""
        ...

    def tools(self) -> tuple[ToolSpec, ...]:
        """The actions, as the player is told of them."""
        ...

    def prompt(self, task: Task) -> str:
        """The user message that opens the task."""
        ...

    def generate(self, split: Split, seed: int = 0) -> Iterator[Task]:
        """An endless stream of distinct tasks; the same one for the same seed."""
        ...

    def load(self, path: Path, split: Split) -> list[Task]:
        """AgentBench's task file. Raises OperatorError naming file, line and field."""
        ...

    def open(self, task: Task) -> AbstractAsyncContextManager[OpenTask]:
        """A world for one try; leaving the context removes it."""
        ...
