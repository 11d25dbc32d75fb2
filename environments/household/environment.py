"""The household environment: one command at a time, over when the goal is met, reward 1 or 0."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentlm.agent.tool import Observation
from agentlm.environments.household.generate import tasks
from agentlm.environments.household.goals import Goal
from agentlm.environments.household.simulator import NOTHING, Household
from agentlm.environments.task import Action, Split, Task
from agentlm.errors import OperatorError
from agentlm.messages import ToolSpec

COMMANDS = """\
go to (place) · open (place) · close (place) · take (thing) from (place) · put (thing) in/on \
(place) · clean, heat or cool (thing) with (place) · slice (thing) with (thing) · use (thing) · \
examine (thing or place) · look · inventory"""

_ACT = ToolSpec(
    name="act",
    description="Do one thing in the household, by a command.",
    parameters={
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
        "additionalProperties": False,
    },
)
_PROMPT = """\
Work in a household with the act tool, one command at a time, until the task is done. Commands: \
{commands}. You carry one thing at a time. What can't be done is answered by: Nothing happens.

{instruction}"""


class HouseholdEnvironment:
    """Six kinds of errands in 120 rooms, whose things are drawn for each task."""

    name = "household"
    max_turns = 35

    def tools(self) -> tuple[ToolSpec, ...]:
        return (_ACT,)

    def prompt(self, task: Task) -> str:
        """The commands, what one sees at first, and the task."""
        return _PROMPT.format(commands=COMMANDS, instruction=task.instruction)

    def generate(self, split: Split, seed: int = 0) -> Iterator[Task]:
        return tasks(split, seed)

    def load(self, path: Path, split: Split) -> list[Task]:
        """Not offered: ALFWorld's games are not available."""
        raise OperatorError("the household environment has no task files: it plays generated tasks")

    @asynccontextmanager
    async def open(self, task: Task) -> AsyncIterator[OpenHousehold]:
        """The room as the task describes it."""
        places = {name: list(there) for name, there in task.parameters["places"].items()}
        goal = Goal.model_validate(task.parameters["goal"])
        yield OpenHousehold(Household(places), goal)


class OpenHousehold:
    """One try at one errand."""

    def __init__(self, home: Household, goal: Goal) -> None:
        self._home = home
        self._goal = goal
        self.over = False
        """The goal was met: as in ALFWorld, that is the end."""

    @property
    def earned(self) -> float:
        """All or nothing."""
        return float(self.over)

    async def act(self, action: Action) -> Observation:
        text = self._home.act(action.arguments["command"])
        self.over = self.over or self._goal.is_met(self._home)
        return Observation(text, failed=text == NOTHING)

    async def score(self, answer: str) -> float:
        """The text of an answer does not count."""
        return self.earned
