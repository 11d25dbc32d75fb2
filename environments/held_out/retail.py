"""tau2's retail desk: orders to cancel, change, return and exchange by a shop's policy. By Barres,
Yao and others at Sierra (MIT; policy, tasks, data and tools from the package `inspect-evals`).

Without tau2's customer, which is a language model: all that the customer knows and wants stands in
the task, and what they would confirm counts as confirmed. So a task is easier to ask and, where the
customer changes their mind half way, harder to follow: scores can't be compared with tau2's. A try
succeeds if the database is as tau2's own actions leave it (those that the desk refuses change
nothing) and the answer says what has to be said. tau2's training tasks are our dev tasks. Its tool
`calculate` is left out.
"""

from __future__ import annotations

import gzip
import inspect
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from agentlm.agent.tool import ToolError
from agentlm.environments.adapters.loading import folder_of
from agentlm.environments.adapters.world import Problem, World
from agentlm.environments.held_out.splits import held_out
from agentlm.environments.task import Action, Move, Split
from agentlm.messages import ToolSpec
from agentlm.tools.functions import FunctionTool
from agentlm.tools.schema import spec_of

NAME = "retail"
INSTALL = "pip install --no-deps inspect-evals==0.28.0"
"""Without its dependencies, some of which no index carries."""
_READING = ("find_", "get_", "list_")
_LEFT_OUT = ("calculate", "transfer_to_human_agents")
"""Actions that change nothing."""
_PREAMBLE = """\
You serve a shop's customer by the policy below, with the tools. Do at once what the policy \
allows: what the customer would be asked to confirm is confirmed. Then answer the customer.

"""


def world_of(_: str) -> type[World]:
    """The desk. Raises OperatorError if the package is missing."""
    folder = folder_of("inspect_evals", INSTALL) / "tau2"
    policy = (folder / "data/domains/retail/policy.txt").read_text(encoding="utf-8")
    return type("Retail", (_Desk,), {"folder": folder, "__doc__": _PREAMBLE + policy})


class _Desk(World):
    max_turns = 30
    folder: Path

    @classmethod
    def tasks(cls, split: Split, seed: int) -> Iterator[Problem]:
        """tau2's test tasks; its training tasks as dev."""
        held_out(NAME, split, "dev", "test")
        data = cls.folder / "data/domains/retail"
        listed = json.loads((data / "split_tasks.json").read_text(encoding="utf-8"))
        chosen = set(listed["train" if split == "dev" else "test"])
        rows = json.loads((data / "tasks.json").read_text(encoding="utf-8"))
        rows = [row for row in rows if row["id"] in chosen]
        for row in Random(seed).sample(rows, len(rows)):
            yield _problem(row)

    @classmethod
    def specs(cls) -> tuple[ToolSpec, ...]:
        """tau2's own tools, and the way out to a person."""
        return _specs(cls.folder)

    def start(self) -> None:
        """A database of this try's own."""
        self._open = _desk(self.folder)
        self._functions = _functions(self._open)

    def act(self, action: Action) -> str:
        """Use a tool. The player reads what it refuses, and what it raises."""
        try:
            seen = self._functions[action.name](**action.arguments)
        except Exception as error:
            raise ToolError(str(error)) from error
        if isinstance(seen, BaseModel):
            return seen.model_dump_json()
        return seen if isinstance(seen, str) else json.dumps(seen, default=_plain)

    def score(self, answer: str) -> float:
        """Whether all is as tau2's own actions leave it, and what has to be said was said."""
        text = answer.lower().replace(",", "")
        if not all(each.lower() in text for each in self.parameters["statements"]):
            return 0.0
        wanted = _desk(self.folder)
        functions = _functions(wanted)
        for action in self.parameters["actions"]:
            with suppress(_engine(self.folder).ToolError):  # as tau2 does
                functions[action["name"]](**action["arguments"])
        return float(wanted.db.get_hash() == self._open.db.get_hash())


def _problem(row: dict[str, Any]) -> Problem:
    scenario, judged = row["user_scenario"]["instructions"], row["evaluation_criteria"]
    keys = ("reason_for_call", "known_info", "unknown_info", "task_instructions")
    note = "\n".join(str(scenario[key]) for key in keys if scenario[key])
    actions = [
        {"name": each["name"], "arguments": each["arguments"]}
        for each in judged["actions"]
        if each["name"] not in _LEFT_OUT
    ]
    changes = [each["name"] for each in actions if not each["name"].startswith(_READING)]
    statements = judged["communicate_info"] or []
    return Problem(
        f"The customer's side, as a note to you:\n{note}",
        {"actions": actions, "statements": statements},
        family=changes[0] if changes else "nothing to change",
        gold=tuple(_gold(actions, statements)),
    )


def _gold(actions: list[dict[str, Any]], statements: list[str]) -> Iterator[Move]:
    for action in actions:
        yield Move(thought="The next step.", action=Action(**action))
    yield Move(thought="All is done.", answer=f"Done. {' '.join(statements)}".strip())


def transfer_to_human_agents(summary: str) -> str:
    """Transfer the customer to a person, with a summary of what they want."""
    return "Transfer successful"


def _functions(desk: Any) -> dict[str, Callable[..., Any]]:
    names = [name for name, each in vars(type(desk)).items() if inspect.isfunction(each)]
    public = [name for name in names if not name.startswith("_") and name != "initialize"]
    functions = {name: getattr(desk, name) for name in public}
    return {**functions, "transfer_to_human_agents": transfer_to_human_agents}


@cache
def _specs(folder: Path) -> tuple[ToolSpec, ...]:
    tools = map(FunctionTool, _functions(_engine(folder).RetailAgentTools()).values())
    return tuple(spec_of(tool).model_copy(update={"owner": "client"}) for tool in tools)


def _desk(folder: Path) -> Any:
    """The tools over a copy of the shop's database."""
    return _engine(folder).RetailAgentTools(initialized=True, db=pickle.loads(_database(folder)))


def _plain(value: object) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else str(value)


@cache
def _database(folder: Path) -> bytes:
    """Pickled, since a copy for each try is then made five times faster."""
    data = json.loads(gzip.decompress((folder / "data/domains/retail/db.json.gz").read_bytes()))
    return pickle.dumps(_engine(folder).RetailDB.model_validate(data))


@cache
def _engine(folder: Path) -> ModuleType:
    """tau2's tools. All they need of Inspect, an evaluation framework, is an error and a base
    class: a stand-in has these, so that the package does not import all its domains.
    """
    stand_ins: dict[str, dict[str, Any]] = {
        "inspect_ai": {},
        "inspect_ai.tool": {"ToolError": type("ToolError", (Exception,), {})},
        "inspect_ai.util": {"StoreModel": BaseModel},
        "inspect_ai.model": {"Content": Any, "ContentText": object},
        "toml": {},
        "inspect_evals.tau2": {"__path__": [str(folder)]},
    }
    kept = {name: sys.modules.get(name) for name in stand_ins}
    for name, members in stand_ins.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(members)
    try:
        return import_module("inspect_evals.tau2.retail.RetailAgentTools")
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
