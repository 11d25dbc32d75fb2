"""Environments made for the package `verifiers` 0.1: one answer, or calls of tools and then one.

Not supported: worlds that answer in plain text (`MultiTurnEnv` except `ToolEnv`), tools that need
the state of a rollout or a sandbox, rewards of a group, judges that are models. Its train rows
become our train and dev splits; its eval rows are test. A weighted sum of rewards is limited to [0,
1]. If a reward function raises, the package itself counts it as zero.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from agentlm.agent.tool import ToolError
from agentlm.environments.adapters.loading import needed
from agentlm.environments.adapters.world import Problem, World
from agentlm.environments.splits import split_of
from agentlm.environments.task import Action, Split
from agentlm.errors import OperatorError
from agentlm.messages import ToolSpec

_INSTALL = (
    "pip install --no-deps verifiers==0.1.14, and likewise what it lacks: its pins clash with ours"
)
_MAX_TURNS = 10


def world_of(name: str) -> type[World]:
    """A class of worlds for an environment that `verifiers` finds by this name.

    Raises OperatorError if it can't be loaded, or is of a kind that can't be played here.
    """
    verifiers = needed("verifiers", "verifiers", _INSTALL)
    needed("verifiers.envs.tool_env", "verifiers", _INSTALL)
    try:
        env = verifiers.load_environment(name)
    except Exception as error:
        raise OperatorError(f"verifiers:{name} can't be loaded: {error}") from error
    if type(env).env_response not in (verifiers.ToolEnv.env_response, _single(verifiers)):
        raise OperatorError(
            f"verifiers:{name} is a {type(env).__name__}; SingleTurnEnv and ToolEnv are allowed"
        )

    class VerifiersWorld(_VerifiersWorld):
        __doc__ = env.system_prompt or "Answer the question below."
        max_turns = env.max_turns if env.max_turns > 0 else _MAX_TURNS
        library = verifiers
        environment = env

    return VerifiersWorld


def _single(verifiers: Any) -> Any:
    return verifiers.SingleTurnEnv.env_response


class _VerifiersWorld(World):
    library: Any
    environment: Any

    @classmethod
    def tasks(cls, split: Split, seed: int) -> Iterable[Problem]:
        env, evaluated = cls.environment, split == "test"
        rows = env.get_eval_dataset(seed=seed) if evaluated else env.get_dataset(seed=seed)
        for row in rows:
            plain = json.loads(json.dumps(row, default=str))
            if evaluated or _dealt(plain) == split:
                yield Problem(_user_text(plain["prompt"]), plain, family=_kind(plain))

    @classmethod
    def specs(cls) -> tuple[ToolSpec, ...]:
        return tuple(
            ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters)
            for tool in cls.environment.tool_defs or ()
        )

    async def start(self) -> None:
        config = self.library.types.ClientConfig()
        self._state = await self.environment.init_state(self.parameters, config, "")
        await self.environment.setup_state(self._state)
        self._state["completion"] = []

    async def act(self, action: Action) -> str:
        types, messages = self.library.types, self._state["completion"]
        call = {"id": f"call_{len(messages)}", "name": action.name}
        call["arguments"] = json.dumps(action.arguments)
        messages.append(types.AssistantMessage(tool_calls=[types.ToolCall(**call)]))
        try:
            result = await self.environment.call_tool(action.name, action.arguments, call["id"])
        except Exception as error:
            raise ToolError(self.environment.error_formatter(error)) from error
        messages.append(result)
        return str(result.content)

    async def score(self, answer: str) -> float:
        self._state["completion"].append(self.library.types.AssistantMessage(content=answer))
        await self.environment.rubric.score_rollout(self._state)
        return min(1.0, max(0.0, float(self._state["reward"])))


def _dealt(row: Mapping[str, Any]) -> Split:
    """The split of a training row. The evaluation set is test, so no training row is."""
    split = split_of(json.dumps(row, sort_keys=True))
    return "train" if split.startswith("test") else split


def _user_text(prompt: Any) -> str:
    """The user's text. The system's text is the world's docstring."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(str(each["content"]) for each in prompt if each["role"] != "system")


def _kind(row: Mapping[str, Any]) -> str:
    named = row.get("task")
    return named if isinstance(named, str) and named else "all"
