"""The settings of `agentlm eval`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import CliToggleFlag, SettingsConfigDict

from agentlm.environments.catalogue import EnvironmentName
from agentlm.environments.playing.settings import PlaySettings
from agentlm.environments.task import Split


class EvalSettings(PlaySettings):
    """Measure a model on tasks that it was not trained on, and beside it the model it came from.

    agentlm eval --env db,os --url http://localhost:8000 --model mine --base smollm2-135m -n 100

    Runs are never rewarded in the log, so they can't be trained on. The same command goes on after
    an interruption.
    """

    model_config = SettingsConfigDict(cli_shortcuts={"limit": "n"})

    env: tuple[EnvironmentName, ...] = ("db", "os", "kg")
    """Families of tasks: ours, others' or yours, as in `agentlm rollout --help`."""
    model: str
    """The model to measure."""
    base: str | None = None
    """A second model, measured on the same tasks."""
    base_url: str | None = None
    """The base's server, if it is another one: ours runs one model's full weights at a time."""
    general: tuple[str, ...] = ()
    """General ability to measure beside the tasks: hellaswag, truthfulqa, perplexity, instructions,
    abstention."""
    cases: int | None = Field(None, ge=1)
    """Cases of each measure of general ability; by default as many as tasks of a family."""
    split: Split = "test"
    """Which tasks."""
    limit: int = Field(100, ge=1)
    """Tasks of each family."""
    decoding: Literal["both", "unconstrained", "constrained", "default"] = "both"
    """Whether our server holds the model's calls to their form; `default` leaves it to the server,
    for servers that don't have the choice."""
    retries: int = Field(2, ge=0)
    """How often a try is played again after a failure that is not the model's."""
    seed: int = 0
    """Seed of the tasks, the model's sampling and the bootstrap."""
    answers: CliToggleFlag[bool] = False
    """Show right answers in report.html for the test set too: tuning by them spoils it."""
    name: str | None = None
    """Name of this evaluation's directory; by default it says what is measured."""
    fresh: CliToggleFlag[bool] = False
    """Measure everything anew: forget what is kept of these models with these settings."""
