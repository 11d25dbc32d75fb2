"""TextWorldExpress: eight small games of text by Peter Jansen and others (Apache-2.0, Java).

The seeds are the package's own folds: dev is its development fold, test its test fold. Each
observation lists the commands that are possible, as its authors give them to their agents; the
reward is the game's own normalised score.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any

from agentlm.environments.adapters.loading import folder_of
from agentlm.environments.adapters.world import Problem
from agentlm.environments.held_out.java import JavaMachines, JavaWorld
from agentlm.environments.held_out.splits import held_out
from agentlm.environments.task import Action, Move, Split
from agentlm.install import install

NAME = "textworld-express"
_FOLD = 1000
"""Seeds of a game in each fold."""
_STEPS = 50
"""As its authors play; some of their own paths are longer."""


def world_of(_: str) -> type[JavaWorld]:
    """The games. Raises OperatorError if the package or Java is missing."""
    jar = folder_of("textworld_express", install(NAME)) / "textworld-express.jar"
    machines = JavaMachines(NAME, jar, "textworldexpress.runtime.PythonInterface")
    return type("TextWorldExpress", (_Game,), {"machines": machines, "__doc__": _Game.__doc__})


class _Game(JavaWorld):
    """You play a game of text. Use the tool `step` with one of the possible commands at a time."""

    max_turns = _STEPS

    @classmethod
    def tasks(cls, split: Split, seed: int) -> Iterator[Problem]:
        """The games in turn, so that the first tasks have all of them."""
        held_out(NAME, split, "dev", "test")
        with cls.machines.world() as game:
            drawn = Random(seed).sample(range(_FOLD), _FOLD)
            for place, name in product(drawn, sorted(game.getGameNames())):
                game.load(name, "")
                parameters = {"game": name, "seed": _seeds(game, split)[place], "fold": split}
                yield _problem(name, game, parameters)

    def start(self) -> None:
        """Draw the game that the parameters name."""
        self._game = self.opened()
        self._game.load(self.parameters["game"], "")
        _drawn(self._game, self.parameters)

    def step(self, command: str) -> str:
        """Do what one command says."""
        state = json.loads(self._game.stepJSON(command))
        self.earned = min(1.0, max(0.0, float(state["score"])))
        self.over = bool(state["tasksuccess"] or state["taskfailure"] or self.earned >= 1)
        return _told(state)


def _seeds(game: Any, split: Split) -> Any:
    return game.getSeedsDev() if split == "dev" else game.getSeedsTest()


def _problem(name: str, game: Any, parameters: dict[str, Any]) -> Problem:
    state = _drawn(game, parameters, gold=True)
    moves = tuple(map(_move, game.getGoldActionSequence()))
    instruction = f"{game.getTaskDescription()}\n\n{_told(state)}"
    return Problem(instruction, parameters, family=name, gold=moves if len(moves) <= _STEPS else ())


def _drawn(game: Any, parameters: dict[str, Any], *, gold: bool = False) -> dict[str, Any]:
    seed, fold = parameters["seed"], parameters["fold"]
    state: dict[str, Any] = json.loads(game.generateNewGameJSON(seed, fold, gold))
    return state


def _move(command: str) -> Move:
    return Move(
        thought="The next step.", action=Action(name="step", arguments={"command": command})
    )


def _told(state: dict[str, Any]) -> str:
    possible = ", ".join(sorted(state["validActions"]))
    return f"{state['observation'].strip()}\nPossible commands: {possible}"
