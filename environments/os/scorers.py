"""Judging a try: before the player comes, and when it has answered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from agentlm.environments.os.compare import Comparison, agrees, equals
from agentlm.environments.os.tree import LISTING, Tree, differences, parse
from agentlm.environments.os.world import Script, World
from agentlm.environments.task import Scoring, Task


class Scorer(Protocol):
    """One way of judging."""

    async def prepare(self) -> None:
        """Find out what has to be known before the player can change anything."""
        ...

    async def is_solved(self, answer: str) -> bool:
        """Whether the task was done; called once, when the player's processes have ended."""
        ...


def scorer_of(task: Task, world: World, scoring: Scoring) -> Scorer:
    """How this task is judged."""
    if "judgement" in task.parameters:
        return FileScorer(world, task.parameters["judgement"], exact=scoring == "agentbench")
    if "check" in task.parameters:
        return ChangeScorer(world, task)
    return QuestionScorer(world, task.parameters)


class QuestionScorer:
    """A question whose answer a reference finds out beforehand."""

    def __init__(self, world: World, parameters: dict[str, Any]) -> None:
        self._world = world
        self._reference = Script(code=parameters["expect"])
        self._how: Comparison = parameters["compare"]
        self._expected = ""

    async def prepare(self) -> None:
        """Ask while nobody has changed anything."""
        self._expected = await self._world.ask(self._reference)

    async def is_solved(self, answer: str) -> bool:
        return agrees(answer, self._expected, self._how)


class ChangeScorer:
    """A change: the check passes, and everything else is as the expert leaves it."""

    def __init__(self, world: World, task: Task) -> None:
        self._world = world
        self._task = task

    async def prepare(self) -> None:
        """Nothing: the expert's world is made when it is needed."""

    async def is_solved(self, answer: str) -> bool:
        """The check first: most tries that fail fail there."""
        check = Script(code=self._task.parameters["check"])
        if not answer.strip() or not (await self._world.run(check)).succeeded:
            return False
        before, right = await self._expert()
        listing = await self._world.run(LISTING, *(before | right))
        # A listing that does not end is the player's doing, and no failure of ours.
        return not listing.stopped and not list(differences(before, right, parse(listing.output)))

    async def _expert(self) -> tuple[Tree, Tree]:
        """The scene before and after the expert."""
        world = self._world.beside()
        try:
            await world.set_up(Script(code=self._task.parameters["init"]))
            before = await _tree(world)
            for move in self._task.gold:
                if move.action is not None:
                    await world.play(move.action.arguments["command"])
            await world.settle()
            return before, await _tree(world)
        finally:
            await world.close()


async def _tree(world: World) -> Tree:
    return parse(await world.ask(LISTING))


class Judgement(Script):
    """One of a file's checks: a script, the task's reference, or a comparator that is built in."""

    code: str = ""
    compare: Comparison | None = None
    is_reference: bool = False


@dataclass
class FileScorer:
    """AgentBench's own: a text to match, or checks of which each is given the answer and what those
    before it printed.

    By our rules the reference is asked in a copy of the scene that the player never sees, and
    answers are read as people write them. By AgentBench's the reference runs last, and answers are
    compared to the letter.
    """

    world: World
    parameters: dict[str, Any]
    exact: bool

    def __post_init__(self) -> None:
        self._checks = [Judgement.model_validate(c) for c in self.parameters.get("checks", ())]
        self._expected = ""

    async def prepare(self) -> None:
        """Ask the reference, in a copy: it may change what it looks at."""
        references = [check for check in self._checks if check.is_reference]
        if self.exact or not references:
            return
        copy = await self.world.copy()
        try:
            self._expected = await copy.ask(references[0])
        finally:
            await copy.close()

    async def is_solved(self, answer: str) -> bool:
        """All checks pass."""
        if not self._checks:
            return self._matches(answer)
        if not (self.exact or answer.strip()):
            return False
        params = [answer]
        for check in self._checks:
            printed = await self._passes(check, params)
            if printed is None:
                return False
            params.append(printed)
        return True

    async def _passes(self, check: Judgement, params: list[str]) -> str | None:
        """What a check prints; None if it fails."""
        if check.compare:
            compare = equals if self.exact else agrees
            return "" if compare(params[0], params[1], check.compare) else None
        if check.is_reference and not self.exact:
            return self._expected
        verdict = await self.world.run(check, *params)
        return verdict.output if verdict.succeeded else None

    def _matches(self, answer: str) -> bool:
        """`match`, which wins over checks."""
        wanted = self.parameters.get("answer")
        if not self.exact:
            if wanted is not None:
                return agrees(answer, wanted, "string")
            return agrees(answer, self.parameters["regex"], "regex")
        text = answer.strip() if self.parameters["strip"] else answer
        if wanted is not None:
            return text == str(wanted)
        return re.search(self.parameters["regex"], text) is not None
