"""ScienceWorld: thirty kinds of experiment in a house of text, by Wang, Jansen and others at the
Allen Institute for AI (Apache-2.0, Java).

Dev and test are the package's own variations. The reward is its own score, or 0 if that is
negative, as after focusing on the wrong thing, which ends a try. A path that solves a task takes
seconds to make, so tasks come without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from agentlm.environments.adapters.loading import folder_of
from agentlm.environments.adapters.world import Problem
from agentlm.environments.held_out.java import JavaMachines, JavaWorld
from agentlm.environments.held_out.splits import held_out
from agentlm.environments.task import Split
from agentlm.install import install

NAME = "scienceworld"


def world_of(_: str) -> type[JavaWorld]:
    """The experiments. Raises OperatorError if the package or Java is missing."""
    jar = folder_of(NAME, install(NAME)) / "scienceworld.jar"
    machines = JavaMachines(NAME, jar, "scienceworld.runtime.pythonapi.PythonInterface")
    members = {"machines": machines, "__doc__": _Experiment.__doc__}
    return type("ScienceWorld", (_Experiment,), members)


class _Experiment(JavaWorld):
    """You are in a house of text with a kitchen, a workshop, a greenhouse and more, and have a task
    of science to do there. Use the tool `step` with one action at a time: look around, look at X,
    look in X, examine X, inventory, open X, close X, go to ROOM, pick up X, put down X, move X to
    Y, pour X into Y, dunk X into Y, mix X, use X on Y, activate X, deactivate X, connect X to Y,
    disconnect X, read X, eat X, flush X, wait, wait1, focus on X (what the task is about: the
    wrong one ends it). If an action could mean several things, answer with the number asked for.
    """

    max_turns = max_equal_calls = 100  # plants grow while one waits

    @classmethod
    def tasks(cls, split: Split, seed: int) -> Iterator[Problem]:
        """A variation of each kind in turn, until none has any left."""
        held_out(NAME, split, "dev", "test")
        with cls.machines.world() as house:
            yield from _problems(house, split, Random(seed))

    def start(self) -> None:
        """Build the house for the parameters' variation."""
        self._house = self.opened()
        _load(self._house, self.parameters)
        self._house.step("look around")  # what the task shows already

    def step(self, action: str) -> str:
        """Do one action."""
        seen = str(self._house.step(action))
        self.earned = min(1.0, max(0.0, float(self._house.getScore())))
        self.over = bool(self._house.getCompleted())
        return seen.strip()


def _problems(house: Any, split: Split, random: Random) -> Iterator[Problem]:
    left = {kind: _variations(house, kind, split) for kind in house.getTaskNames()}
    for variations in left.values():
        random.shuffle(variations)
    while left := {kind: variations for kind, variations in left.items() if variations}:
        for kind, variations in left.items():
            parameters = {"kind": kind, "variation": variations.pop()}
            _load(house, parameters)
            instruction = f"{house.getTaskDescription()}\n\n{house.step('look around')}"
            yield Problem(instruction, parameters, family=kind)


def _variations(house: Any, kind: str, split: Split) -> list[int]:
    house.load(kind, 0, "", False)
    return list(house.getVariationsDev() if split == "dev" else house.getVariationsTest())


def _load(house: Any, parameters: dict[str, Any]) -> None:
    house.load(parameters["kind"], parameters["variation"], "", False)
    house.reset()
