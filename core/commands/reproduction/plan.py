"""A plan: an experiment's steps in order, their costs, and the comparisons on its page.

A plan is a YAML file (`plans/` has those that come with AgentLM). Each step's `run` is a command as
a person would type it in the experiment's directory; if the step has `served`, after `serve` in
another terminal. `{split}` stands for the tasks that are measured on, `{kinds}` for the tasks of
held-out kinds. While a recipe is tuned, neither comes from a test split.
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
"""The page finds what these commands make by their --name."""


class PlanStep(Frozen):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    """Its name on the screen and in the directory."""
    run: str
    """The command; it begins with `agentlm`."""
    served: str | None = None
    """The model that our server has to run during the step."""
    makes: tuple[str, ...] = ()
    """Files in the experiment's directory that exist once the step is done."""
    units: dict[str, Annotated[float, Field(ge=0)]] = {}
    """How much work it is: the number of each unit that the plan has a rate for."""
    refuses: bool = False
    """Its command says no by ending with 1, which is as good an end as any: it may make nothing."""
    needs: tuple[str, ...] = ()
    """Models by name and files by path. If one is missing, the step is left out, and a line says
    so."""

    @property
    def words(self) -> list[str]:
        """The words of the command after `agentlm`."""
        return shlex.split(self.run)[1:]

    @property
    def command(self) -> str:
        """The name of the `agentlm` command."""
        return self.words[0]

    def flag(self, name: str) -> str | None:
        """The value of a flag of the command."""
        words = [part for word in self.words for part in word.split("=", 1)]
        return next((words[at + 1] for at, word in enumerate(words[:-1]) if word == name), None)

    @property
    def digest(self) -> str:
        """Digest of the command and of the recipe that it names: they decide its result."""
        content = [self.words, self.served, _recipe(self.words)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


class Comparison(Frozen):
    """Two evaluations of the plan whose difference answers a question."""

    candidate: str
    base: str
    says: str
    """The question."""


class Plan(Frozen):
    about: str
    """What the experiment compares, in a sentence or two."""
    base: str | None = None
    """The model that is trained. With other weights it is another experiment."""
    port: int = Field(8135, ge=1, le=65535)
    """The server's port. Kept results include it in their key."""
    serve: str = PROGRAM + " serve"
    """The command that serves models; --model and --port are added."""
    disk_gb: float = Field(0.3, ge=0)
    """About how much all steps together write."""
    rates: dict[str, Annotated[float, Field(ge=0)]]
    """Measured seconds for each unit of work; `start` is one start of a server."""
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
        """The steps that run one command, by the name of what they make, in order."""
        steps = (step for step in self.steps if step.command == command)
        return {step.flag("--name") or "": step for step in steps}

    @property
    def url(self) -> str:
        """Where models are served."""
        return f"http://127.0.0.1:{self.port}"

    def serve_words(self, model: str) -> list[str]:
        """The command that serves a model, without `agentlm`."""
        return [*shlex.split(self.serve)[1:], "--model", model, "--port", str(self.port)]


def shipped_plans() -> dict[str, Path]:
    """The plans that come with AgentLM, by name."""
    directory = Path(str(files("agentlm.commands.reproduction").joinpath("plans")))
    return {path.stem: path for path in sorted(directory.glob("*.yaml"))}


def load_plan(profile: str, split: str) -> Plan:
    """A shipped plan by its name, or a plan file. Raises OperatorError if it is not a plan."""
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
        reason_line = " ".join(reason.split())
        raise OperatorError(f"--profile {profile}: {path} is not a plan: {reason_line}") from error


def _first(error: ValidationError) -> str:
    detail: Any = error.errors(include_url=False)[0]
    place = ".".join(map(str, detail["loc"]))
    return f"{place}: {detail['msg']}" if place else str(detail["msg"])


def _recipe(words: list[str]) -> str | None:
    """The text of the recipe that `--config` names."""
    configs = [
        word for before, word in pairwise(with_shipped_recipe(words)) if before == "--config"
    ]
    file = Path(configs[-1]) if configs else None
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else None
