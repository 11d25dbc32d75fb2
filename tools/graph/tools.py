"""The knowledge graph tools: AgentBench's seven functions, search by label, and SPARQL."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from importlib.util import find_spec

from pydantic import BaseModel, Field

from agentlm.agent.tool import Hints, Tool, ToolContext, ToolError
from agentlm.errors import OperatorError
from agentlm.messages import Frozen
from agentlm.tools.confinement.worker import Worker, WorkerStopped
from agentlm.tools.graph.place import DESCRIPTION
from agentlm.tools.graph.protocol import Answer, ProgramStep, Question
from agentlm.tools.settings import ToolSettings

_WORKERS = 2
_TRAJECTORIES = 10_000
_VARIABLES = 200


class OneArgs(Frozen):
    """Arguments of functions of one variable."""

    variable: str = Field(min_length=1, max_length=300)
    """A variable (`#0`) or an entity's name."""


class NeighborsArgs(OneArgs):
    """Arguments of `get_neighbors`."""

    relation: str = Field(min_length=1, max_length=300)
    """A relation as `get_relations` lists it."""


class AttributeArgs(OneArgs):
    """Arguments of `argmax` and `argmin`."""

    attribute: str = Field(min_length=1, max_length=300)
    """An attribute as `get_attributes` lists it."""


class TwoArgs(Frozen):
    """Arguments of `intersection`."""

    variable1: str = Field(min_length=1, max_length=300)
    """A variable (`#0`)."""
    variable2: str = Field(min_length=1, max_length=300)
    """Another one."""


class FindArgs(Frozen):
    """Arguments of `find_entity`."""

    name: str = Field(min_length=1, max_length=300)
    """What it is called, or words of it."""


class SparqlArgs(Frozen):
    """Arguments of `sparql`."""

    query: str = Field(min_length=1, max_length=8_000)
    """A SPARQL query."""


FUNCTIONS: dict[str, tuple[type[BaseModel], str]] = {
    "find_entity": (FindArgs, "Search the knowledge graph for entities by name."),
    "get_relations": (
        OneArgs,
        "List the relations of an entity, or of the entities of a variable, in the knowledge "
        "graph. Those that lead to it start with ^.",
    ),
    "get_neighbors": (
        NeighborsArgs,
        "Make a new variable of all entities that are connected by a relation. Use get_relations "
        "first to find which relations there are.",
    ),
    "intersection": (TwoArgs, "Make a new variable of the entities that are in both variables."),
    "get_attributes": (
        OneArgs,
        "List the attributes (numbers and dates) of the entities of a variable. Use it before "
        "argmax or argmin.",
    ),
    "argmax": (
        AttributeArgs,
        "Make a new variable of the entities with the largest value of an attribute.",
    ),
    "argmin": (
        AttributeArgs,
        "Make a new variable of the entities with the smallest value of an attribute.",
    ),
    "count": (OneArgs, "Make a new variable: the number of entities of a variable."),
    "sparql": (
        SparqlArgs,
        "Query the knowledge graph with SPARQL. Prefixes such as wn:, geo:, rdf:, rdfs: and skos: "
        "are known. The graph can only be read.",
    ),
}
"""Each tool's arguments and its description for the model."""


class Conversations:
    """The variables of each trajectory, and the processes that evaluate them."""

    def __init__(self, settings: ToolSettings) -> None:
        directory = str(settings.graph_dir().absolute())
        self._settings = settings
        self._workers = [
            Worker("agentlm.tools.graph.graph_worker", directory) for _ in range(_WORKERS)
        ]
        self._programs: OrderedDict[str, tuple[ProgramStep, ...]] = OrderedDict()

    async def call(self, function: str, args: BaseModel, trajectory_id: str) -> str:
        """Evaluate one call. Raises ToolError with what is wrong with it."""
        program = self._programs.get(trajectory_id, ())
        question = Question(
            function=function,
            arguments=args.model_dump(),
            program=program,
            names=self._settings.graph_names,
            rows=self._settings.graph_rows,
        )
        answer = await self._ask(question, trajectory_id)
        if answer.error:
            raise ToolError(answer.error)
        if answer.step:
            self._add(trajectory_id, (*program, answer.step))
        return answer.text

    def forget(self, trajectory_id: str) -> None:
        """Drop a trajectory's variables."""
        self._programs.pop(trajectory_id, None)

    async def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            await worker.close()

    async def _ask(self, question: Question, trajectory_id: str) -> Answer:
        """Ask the process that has this trajectory's variables cached, if it still has."""
        worker = self._workers[hash(trajectory_id) % len(self._workers)]
        try:
            content = question.model_dump_json().encode()
            answer = await worker.ask(content, self._settings.tool_timeout_s)
        except WorkerStopped as error:
            raise ToolError("the graph could not answer within time and memory") from error
        return Answer.model_validate_json(answer)

    def _add(self, trajectory_id: str, program: tuple[ProgramStep, ...]) -> None:
        if len(program) > _VARIABLES:
            raise ToolError(f"a conversation can't have more than {_VARIABLES} variables")
        self._programs[trajectory_id] = program
        self._programs.move_to_end(trajectory_id)
        if len(self._programs) > _TRAJECTORIES:
            self._programs.popitem(last=False)


class GraphFunction:
    """One of `FUNCTIONS` as a tool; its docstring is the one given there."""

    hints = Hints(read_only=True, open_world=False)

    def __init__(self, name: str, conversations: Conversations) -> None:
        self.name = name
        self.Args, self.__doc__ = FUNCTIONS[name]
        self._conversations = conversations

    async def run(self, args: BaseModel, context: ToolContext) -> str:
        """Evaluate it for the trajectory."""
        return await self._conversations.call(self.name, args, context.trajectory_id)

    async def release(self, trajectory_id: str) -> None:
        """Drop the trajectory's variables."""
        self._conversations.forget(trajectory_id)

    async def close(self) -> None:
        """End the processes; idempotent."""
        await self._conversations.close()


async def open_graph(settings: ToolSettings) -> tuple[Tool, ...]:
    """Raises OperatorError if there is no graph; processes start when they are needed."""
    if find_spec("pyoxigraph") is None:
        raise OperatorError("the knowledge_graph tools need the package pyoxigraph (extra `tools`)")
    directory = settings.graph_dir()
    if not await asyncio.to_thread((directory / DESCRIPTION).is_file):
        raise OperatorError(
            f"there is no knowledge graph in {directory}: `python -m agentlm.tools.graph.build` "
            "makes one"
        )
    conversations = Conversations(settings)
    return tuple(GraphFunction(name, conversations) for name in FUNCTIONS)
