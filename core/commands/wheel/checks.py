"""What one of the wheel's commands would refuse hours later, refused at once."""

from __future__ import annotations

import shlex
from typing import TypeVar

from agentlm.commands.gate import GateModel
from agentlm.commands.wheel.settings import WheelSettings, slug
from agentlm.environments.evaluation.settings import EvalSettings
from agentlm.environments.playing.settings import RolloutSettings
from agentlm.errors import OperatorError
from agentlm.finetune.recipes import with_shipped_recipe
from agentlm.finetune.settings import FinetuneSettings
from agentlm.models.registry import Registry
from agentlm.server.settings import ServeSettings
from agentlm.settings import Settings, parse, parse_known

FIRST = "smollm2-135m"
"""Begins where neither --base nor an alias says what does."""


def check_commands(settings: WheelSettings) -> None:
    """Raise OperatorError if a command of a turn can't be understood."""
    if len({slug(env) for env in settings.env}) < len(settings.env):
        raise OperatorError(f"--env: two families have one name in {', '.join(settings.env)}")
    for env in settings.env:
        _parsed(RolloutSettings, settings.rollout(env, 1, "m"), "rollout").drawn()
    training = _parsed(FinetuneSettings, settings.finetune(1, "m"), "finetune")
    training.check()
    if training.full:
        raise OperatorError(
            "--finetune-flags: --full is not for the wheel: full weights take the place of the "
            "model that the gate measures them beside"
        )
    _parsed(GateModel, settings.gate(1), "models gate")
    _parsed(EvalSettings, settings.test("m", "end"), "eval")
    parse_known(ServeSettings, shlex.split(settings.serve_flags), "agentlm serve")


S = TypeVar("S", bound=Settings)


def _parsed(kind: type[S], command: str, name: str) -> S:
    """The settings that a command makes. Raises OperatorError and says whose flags are wrong."""
    try:
        words = shlex.split(command)[1 + len(name.split()) :]
        return parse(kind, with_shipped_recipe(words), f"agentlm {name}")
    except (OperatorError, ValueError) as error:
        raise OperatorError(f"--{name.split()[-1]}-flags: {error}") from error


def first_model(settings: WheelSettings, registry: Registry) -> str:
    """The model that a new wheel begins with.

    Raises OperatorError if another one has the alias, or if a name that the wheel would give is
    taken.
    """
    named = registry.aliases.card(settings.alias)
    if None not in (named, settings.base) and named != settings.base:
        raise OperatorError(
            f"--base {settings.base}, and {settings.alias} is {named}: leave --base out to go on "
            "from that, or give another --alias"
        )
    taken = {card.name for card in registry.list()}
    if used := [it for it in map(settings.candidate, range(1, settings.turns + 1)) if it in taken]:
        raise OperatorError(f"a model is called {used[0]} already: give another --name")
    return registry.get(settings.base or named or FIRST).name
