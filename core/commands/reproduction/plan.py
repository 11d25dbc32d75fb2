"""A plan: the steps of an experiment in order, what they cost, what its page compares.

A plan is a YAML file (`plans/` has those that come with AgentLM). Each step's `run` is a command as
a person types it in the experiment's directory, after `serve` in another terminal where it says
`served`. `{split}` stands for the tasks that are measured on, `{kinds}` for those of kinds that are
held out (while a recipe is tuned, neither is of a test split).
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from agentlm.errors import OperatorError
from agentlm.finetune.recipes import with_shipped_recipe
from agentlm.messages import Frozen

PROGRAM = "agentlm"
_NAMED = ("eval", "finetune")
"""Commands whose products the page finds by their --name."""


class PlanStep(Frozen):
    """One command of a plan."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    """What it is called on the screen and in the directory."""
    run: str
    """The command, beginning with `agentlm`."""
    served: str | None = None
    """The model that a server of ours must run meanwhile."""
    makes: tuple[str, ...] = ()
    """Files of the experiment's directory that are there when it is done."""
    units: dict[str, Annotated[float, Field(ge=0)]] = {}
    """How much work it is: of each unit that the plan has a rate for, so many."""
    needs: tuple[str, ...] = ()
    """Models by name and files by path; it is left out, and that is said, where one is missing."""

    @property
    def words(self) -> list[str]:
        """The command after `agentlm`."""
        return shlex.split(self.run)[1:]

    @property
    def command(self) -> str:
        """Which of our commands it is."""
        return self.words[0]

    def flag(self, name: str) -> str | None:
        """The value that the command gives a flag."""
        words = [part for word in self.words for part in word.split("=", 1)]
        return next((words[at + 1] for at, word in enumerate(words[:-1]) if word == name), None)

    @property
    def digest(self) -> str:
        """Of the command and of the recipe that it names: what decides what comes of it."""
        content = [self.words, self.served, _recipe(self.words)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


class Comparison(Frozen):
    """Two evaluations of the plan whose difference says something."""

    candidate: str
    base: str
    says: str
    """The question that it answers."""


class Plan(Frozen):
    """An experiment."""

    about: str
    """What is compared, in a sentence or two."""
    base: str | None = None
    """The model that is trained: with other weights it is another experiment."""
    port: int = Field(8135, ge=1, le=65535)
    """Of the server; kept results are known by it."""
    serve: str = PROGRAM + " serve"
    """How models are served: --model and --port are added."""
    disk_gb: float = Field(0.3, ge=0)
    """What all steps together write, about."""
    rates: dict[str, Annotated[float, Field(ge=0)]]
    """Seconds that a unit of work takes, as measured; `start` is of a server's start."""
    steps: tuple[PlanStep, ...] = Field(min_length=1)
    comparisons: tuple[Comparison, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        complaint = next(self._complaints(), None)
        if complaint is not None:
            raise ValueError(complaint)
        return self

    def _complaints(self) -> Iterator[str]:
        names = [step.name for step in self.steps]
        yield from (f"two steps are called {name}" for name in names if names.count(name) > 1)
        for step in self.steps:
            if not step.run.startswith(f"{PROGRAM} ") or not step.words:
                yield f"step {step.name}: a command begins with {PROGRAM}, got {step.run!r}"
                return
            if unknown := step.units.keys() - self.rates.keys():
                yield f"step {step.name}: no rate for the unit {min(unknown)}"
            if step.command in _NAMED and step.flag("--name") is None:
                yield f"step {step.name}: {PROGRAM} {step.command} needs a --name in a plan"
        measured = self.named("eval")
        for comparison in self.comparisons:
            for name in (comparison.candidate, comparison.base):
                if name not in measured:
                    yield f"comparisons: no evaluation is called {name}; known: {list(measured)}"

    def named(self, command: str) -> dict[str, PlanStep]:
        """The steps of one command by the name of what they make, in order."""
        steps = (step for step in self.steps if step.command == command)
        return {step.flag("--name") or "": step for step in steps}

    def serve_words(self, model: str) -> list[str]:
        """The command that serves a model, after `agentlm`."""
        return [*shlex.split(self.serve)[1:], "--model", model, "--port", str(self.port)]


def shipped_plans() -> dict[str, Path]:
    """The plans that come with AgentLM, by name."""
    directory = Path(str(files("agentlm.commands.reproduction").joinpath("plans")))
    return {path.stem: path for path in sorted(directory.glob("*.yaml"))}


def load_plan(profile: str, split: str) -> Plan:
    """A shipped plan by its name, or any by its file. Raises OperatorError if it is none."""
    shipped = shipped_plans()
    path = shipped.get(profile, Path(profile).expanduser())
    try:
        text = path.read_text(encoding="utf-8").replace("{split}", split)
        text = text.replace("{kinds}", "test-kinds" if split == "test" else split)
        return Plan.model_validate(yaml.safe_load(text))
    except FileNotFoundError:
        known = ", ".join(shipped)
        raise OperatorError(
            f"--profile {profile}: no plan of that name (known: {known}) and no such file"
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = _first(error) if isinstance(error, ValidationError) else str(error)
        said = " ".join(reason.split())
        raise OperatorError(f"--profile {profile}: {path} is no plan: {said}") from error


def _first(error: ValidationError) -> str:
    detail: Any = error.errors(include_url=False)[0]
    place = ".".join(map(str, detail["loc"]))
    return f"{place}: {detail['msg']}" if place else str(detail["msg"])


def _recipe(words: list[str]) -> str | None:
    """The text of the recipe that `--config` names."""
    given = [word for before, word in pairwise(with_shipped_recipe(words)) if before == "--config"]
    file = Path(given[-1]) if given else None
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else None
