"""Gymnasium's worlds with text or small numbers as observations and actions.

Not supported: images and vectors (refused by name), actions of several parts, experts. The reward
is the sum of all steps' rewards, limited to [0, 1]. If a library counts in another way (Taxi's −1
for each step), define your own rule in a `World`. Random draws of a world follow from its seed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from random import Random
from types import ModuleType
from typing import Any

from agentlm.environments.adapters.loading import needed
from agentlm.environments.adapters.world import Problem, World
from agentlm.environments.task import Action, Split
from agentlm.errors import OperatorError
from agentlm.install import install
from agentlm.messages import ToolSpec

_MAX_TURNS = 30
"""Used if the world itself has no limit."""
_COLOURED = re.compile(r"\x1b\[[\d;]*m(.*?)\x1b\[0m", re.S)
"""Text that a terminal would colour is put in brackets."""


def world_of(identity: str) -> type[World]:
    """A class of worlds for one id of Gymnasium's registry.

    Raises OperatorError if it is not installed, or not a world of text.
    """
    gymnasium = needed("gymnasium", "gymnasium", install("gymnasium"))
    probe = _made(gymnasium, identity)
    try:
        spec = _spec(probe.action_space, identity)
        _text(probe, probe.reset(seed=0)[0], identity)
        steps = getattr(probe.spec, "max_episode_steps", None) or _MAX_TURNS
    finally:
        probe.close()

    class GymnasiumWorld(_GymnasiumWorld):
        __doc__ = f"You play {identity}. Act with the tool `step`, one action at a time."
        max_turns = steps

        @classmethod
        def tasks(cls, split: Split, seed: int) -> Iterable[Problem]:
            random = Random(f"{identity}/{split}/{seed}")
            while True:
                drawn = random.getrandbits(31)
                env = _made(gymnasium, identity)
                seen = _text(env, env.reset(seed=drawn)[0], identity)
                env.close()
                yield Problem(f"What you see:\n{seen}", {"id": identity, "seed": drawn})

        @classmethod
        def specs(cls) -> tuple[ToolSpec, ...]:
            return (spec,)

        def make(self) -> Any:
            return _made(gymnasium, identity)

    return GymnasiumWorld


class _GymnasiumWorld(World):
    def make(self) -> Any:
        raise NotImplementedError

    def start(self) -> None:
        self._env = self.make()
        self._env.reset(seed=self.parameters["seed"])
        self._total = 0.0

    def act(self, action: Action) -> str:
        seen, reward, ended, cut, _ = self._env.step(action.arguments["action"])
        self._total += float(reward)
        self.earned, self.over = min(1.0, max(0.0, self._total)), bool(ended or cut)
        return _text(self._env, seen, self.parameters["id"])

    def close(self) -> None:
        self._env.close()


def _made(gymnasium: ModuleType, identity: str) -> Any:
    """Make it with a text rendering if the world has one."""
    try:
        modes = gymnasium.spec(identity).entry_point and _modes(gymnasium, identity)
        return gymnasium.make(identity, **({"render_mode": "ansi"} if "ansi" in modes else {}))
    except gymnasium.error.Error as error:
        raise OperatorError(f"gymnasium:{identity}: {error}") from error


def _modes(gymnasium: ModuleType, identity: str) -> list[str]:
    entry = gymnasium.spec(identity).entry_point
    kind = gymnasium.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
    return list(getattr(kind, "metadata", {}).get("render_modes", ()))


def _spec(space: Any, identity: str) -> ToolSpec:
    action: dict[str, Any]
    match type(space).__name__:
        case "Text":
            action = {"type": "string"}
        case "Discrete":
            first = int(space.start)
            action = {"type": "integer", "enum": list(range(first, first + int(space.n)))}
        case _:
            raise OperatorError(
                f"gymnasium:{identity} acts by {space}; Text and Discrete are allowed"
            )
    properties = {"action": {"description": str(space), **action}}
    return ToolSpec(
        name="step",
        description="Take one action.",
        parameters={"type": "object", "properties": properties, "required": ["action"]},
    )


def _text(env: Any, seen: Any, identity: str) -> str:
    """The text of an observation for a player."""
    if env.render_mode == "ansi" and (drawn := env.render()):
        return _COLOURED.sub(r"[\1]", str(drawn))
    if isinstance(seen, str):
        return seen
    try:
        return json.dumps(seen, default=lambda value: value.item())
    except (AttributeError, TypeError, ValueError) as error:
        raise OperatorError(
            f"gymnasium:{identity} shows {env.observation_space}; "
            "text and small numbers are allowed"
        ) from error
