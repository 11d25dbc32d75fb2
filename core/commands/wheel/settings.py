"""The settings of `agentlm wheel`, and the commands that they make."""

from __future__ import annotations

import shlex
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from agentlm.environments.catalogue import EnvironmentName
from agentlm.finetune.settings import Method
from agentlm.models.registry import ALIAS
from agentlm.settings import Settings


class WheelSettings(Settings):
    """Play, train, gate, promote, and again, unattended.

    agentlm wheel --env db --turns 5 --budget-hours 8
    agentlm wheel --env db --turns 5 --finetune-flags="--lr 5e-5 --batch-size 32"

    Each turn's commands are printed, and a person could type them. It ends when the turns are done,
    when two turns in a row bring no model that passes, or when another would not fit the budget;
    then the last model is measured on the test set beside the first, once. Killed anywhere, the
    same command goes on from there.
    """

    model_config = SettingsConfigDict(cli_shortcuts={"limit": "n"})

    env: tuple[EnvironmentName, ...]
    """Families of tasks, as in `agentlm rollout`."""
    turns: int = Field(3, ge=1)
    """The most turns to make."""
    budget_hours: float | None = Field(None, gt=0)
    """Hours of work: no turn begins that would not end within them if it took as long as the
    longest so far. The test at the end is not counted."""
    base: str | None = None
    """The model to begin with; by default the one that has the alias, else smollm2-135m."""
    alias: str = Field("production", pattern=ALIAS)
    """The alias that each model gets once it has passed the gate."""
    name: str = Field("wheel", pattern=r"^[a-z0-9][a-z0-9.-]*$")
    """Name of this wheel; its models are called NAME-1, NAME-2, …."""
    method: Method = "grpo"
    """How a turn learns from its tries: see `agentlm finetune --help`."""
    limit: int = Field(50, ge=1)
    """Tasks of each family that a turn plays, each several times."""
    gate_tasks: int = Field(100, ge=1)
    """Tasks of each family, of the split dev, that the gate measures both models on; new ones each
    turn."""
    test_tasks: int = Field(100, ge=1)
    """Tasks of each family for the test at the end."""
    seed: int = 0
    """Seed of the first turn's tasks; each further turn has the next one."""
    url: str | None = None
    """A running server of the data directory's models to work with, instead of one that is started
    and stopped in between: for a machine that can serve and train at once."""
    port: int = Field(8136, ge=1, le=65535)
    """Port of the server that is started."""
    serve_flags: str = ""
    """Further flags of `agentlm serve`, in one word after the equals sign, like the next four."""
    rollout_flags: str = ""
    """Further flags of `agentlm rollout` (--rollout-flags="--max-tokens 256")."""
    finetune_flags: str = ""
    """Further flags of `agentlm finetune`."""
    gate_flags: str = ""
    """Further flags of `agentlm models gate`: what the rule asks for."""
    eval_flags: str = ""
    """Further flags of `agentlm eval`, for the test at the end."""

    @property
    def directory(self) -> Path:
        """Where its marks, logs and page are."""
        return self.data_dir / "wheels" / self.name

    def candidate(self, turn: int) -> str:
        """What a turn's model is called."""
        return f"{self.name}-{turn}"

    def rollout(self, env: str, turn: int, model: str) -> str:
        """The command that plays one family's tasks."""
        tries = "--for grpo" if self.method == "grpo" else "--tries 8"
        title = self.candidate(turn)
        return _command(
            f"rollout --env {shlex.quote(env)} --model {model} -n {self.limit} {tries} "
            f"--seed {self._seed(turn)} --name {title}-{slug(env)} --tags wheel={title}",
            self.rollout_flags,
        )

    def finetune(self, turn: int, model: str) -> str:
        """The command that trains the successor."""
        title = self.candidate(turn)
        return _command(
            f"finetune --from-logs --tags wheel={title} --method {self.method} --base {model} "
            f"--name {title}",
            self.finetune_flags,
        )

    def gate(self, turn: int) -> str:
        """The command that measures it beside the model that it came from."""
        return _command(
            f"models gate {self.candidate(turn)} --gate-env {self._families} "
            f"--gate-tasks {self.gate_tasks} --gate-split dev --gate-seed {self._seed(turn)}",
            self.gate_flags,
        )

    def promote(self, model: str, why: str | None = None) -> str:
        """The command that gives a model the alias."""
        forced = f"--force {shlex.quote(why)}" if why else ""
        served = f"--publish {shlex.quote(self.url)}" if self.url else ""
        flags = " ".join(filter(None, (forced, served)))
        return _command(f"models promote {model} --alias {self.alias}", flags)

    def test(self, model: str, end: str) -> str:
        """The command that measures a model on the test set."""
        return _command(
            f"eval --env {self._families} --split test --model {model} -n {self.test_tasks} "
            f"--decoding unconstrained --name {self.name}-{end}",
            self.eval_flags,
        )

    @property
    def _families(self) -> str:
        return shlex.quote(",".join(self.env))

    def _seed(self, turn: int) -> int:
        return self.seed + turn - 1


def slug(env: str) -> str:
    """A family's name as a part of others."""
    return "".join(it if it.isascii() and it.isalnum() else "-" for it in env.lower()).strip("-")


def _command(words: str, further: str) -> str:
    return f"agentlm {words} {further}".strip()
