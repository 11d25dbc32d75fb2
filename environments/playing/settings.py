"""The settings of `agentlm rollout`, and those that it has in common with `agentlm eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field
from pydantic_settings import CliToggleFlag, SettingsConfigDict

from agentlm.environments.catalogue import EnvironmentName
from agentlm.environments.db.parts import Part
from agentlm.environments.playing.play import STEP_TIMEOUT_S
from agentlm.environments.task import Scoring, Split
from agentlm.errors import OperatorError
from agentlm.settings import Settings


class PlaySettings(Settings):
    """How tasks are played."""

    url: str = "http://127.0.0.1:8000"
    """An OpenAI-compatible server."""
    api_key: str | None = None
    """Key for the server."""
    tasks: Path | None = None
    """A task file, AgentBench's or of your own world, instead of generated tasks."""
    known: tuple[Part, ...] = ()
    """Parts of generated db tasks that are drawn as in training, to see on which of them a score
    depends: table, columns, values, phrasing, schema."""
    tries: int = Field(1, ge=1)
    """Tries per task."""
    concurrency: int = Field(8, ge=1)
    """Tries at a time."""
    retries: int = Field(2, ge=0)
    """How often a try is played again after a failure that is not the player's."""
    step_timeout_s: float = Field(STEP_TIMEOUT_S, gt=0)
    """Seconds for one step of a world; if it takes longer, the try is broken and gets no score."""
    seed: int = 0
    """Seed of the tasks and of the model's sampling."""
    temperature: float = Field(0.0, ge=0)
    """0 always takes the likeliest token."""
    max_tokens: int = Field(512, ge=1)
    """Tokens that the model may write per turn."""
    one_shot: CliToggleFlag[bool] = False
    """Show a solved training task before each task."""
    grammar: Literal["canonical", "agentinstruct"] = "canonical"
    """How actions are written: as calls of declared tools, or in AgentInstruct's own texts."""
    scoring: Scoring = "agentlm"
    """By whose rules answers are judged: ours, or AgentBench's own code to the letter."""
    name: str | None = None
    """Name of the results in the data directory; by default it says what is played."""
    fresh: CliToggleFlag[bool] = False
    """Play everything anew: forget the results that are kept under this name."""

    def check(self) -> None:
        """Raise OperatorError for flags that exclude each other."""
        if self.one_shot and self.grammar == "agentinstruct":
            raise OperatorError("--one-shot is not offered with --grammar agentinstruct")
        if self.known and self.tasks:
            raise OperatorError("--known is for generated tasks: a file's are as they are")


class RolloutSettings(PlaySettings):
    """Play many tasks with a model, and leave scored trajectories in its log.

    agentlm rollout --env db --url http://localhost:8000 --model smollm2-135m -n 200
    agentlm rollout --env db --player gold -n 500
    agentlm rollout --env db --model smollm2-135m -n 50 --for grpo

    The tries are kept as they finish: the same command goes on after an interruption.
    """

    model_config = SettingsConfigDict(cli_shortcuts={"limit": "n", "method": "for"})

    env: EnvironmentName
    """The family of tasks: db, os, kg, household, webshop, web; one of others that is held out:
    textworld-express, scienceworld, bfcl, fanoutqa, gsm8k, humaneval, retail; or
    yours: FILE.py:Class, an entry point's name, gymnasium:ID, verifiers:NAME."""
    player: Literal["model", "gold", "empty", "random"] = "model"
    """Who plays: a model, the expert that each task comes with, nobody, or chance."""
    url: str = "http://127.0.0.1:8000"
    """An OpenAI-compatible server. Our own keeps the trajectories and is told the scores; what
    another one's model does is written into the log of --data-dir."""
    model: str | None = None
    """The model to play."""
    split: Split = "train"
    """Which tasks: train, dev and test share neither templates nor values."""
    limit: int = Field(100, ge=1)
    """Tasks to play."""
    temperature: float = Field(0.7, ge=0)
    """0 always takes the likeliest token."""
    curriculum: CliToggleFlag[bool] = False
    """Play more of the kinds of task that are solved neither always nor never, judged so far."""
    unconstrained: CliToggleFlag[bool] = False
    """Let our server's model write as it likes, instead of holding its calls to their form."""
    method: Literal["sft", "grpo"] = "sft"
    """What the tries are for. grpo compares several tries of each task, drawn at temperature 1 and
    unconstrained: only then does the log hold how likely they were. 8 tries of each task, unless
    --tries says otherwise."""

    tags: dict[str, str] = {}
    """Entries of the tries' metadata (--tags key=value), by which `agentlm finetune --tags` and
    `agentlm logs --tags` find them."""

    def drawn(self) -> Self:
        """With what the method needs. Raises OperatorError if something else was asked for."""
        if self.method == "sft":
            return self
        needed = {"temperature": 1.0, "unconstrained": True, "player": "model"}
        for name, value in needed.items():
            if name in self.model_fields_set and getattr(self, name) != value:
                raise OperatorError(
                    f"--for grpo needs --{name} {value}, got {getattr(self, name)}: of other tries "
                    "the log does not hold how likely they were"
                )
        tries = self.tries if "tries" in self.model_fields_set else GROUP_TRIES
        if tries < 2:
            raise OperatorError("--for grpo compares tries of a task: --tries 2 or more")
        return self.model_copy(update={**needed, "tries": tries})


GROUP_TRIES = 8
"""Tries of each task, for grpo."""
