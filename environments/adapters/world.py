'''A world of your own: one class, of which each try gets an object.

    class HigherOrLower(World):
        """I think of a number. Ask with guess, then answer with the number."""

        @staticmethod
        def tasks() -> Iterator[Problem]:
            for number in range(1, 101):
                yield Problem("My number is between 1 and 100.", {"number": number})

        def guess(self, number: int) -> str:
            """Ask whether my number is higher or lower than yours."""
            mine = self.parameters["number"]
            return "yes" if mine == number else "higher" if mine > number else "lower"

        def score(self, answer: str) -> float:
            return float(answer.strip() == str(self.parameters["number"]))

The docstring opens the prompt. Public methods with a docstring are what the player can call, as
with tools of your own; they may be async. What they raise ends the try as broken, except for
`ToolError`, whose text the player reads. Methods that are not async run in a thread of their try.
'''

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import ValidationError

from agentlm.agent.tool import Observation, ToolError
from agentlm.environments.adapters.worker import Worker
from agentlm.environments.splits import split_of
from agentlm.environments.task import MAX_EQUAL_CALLS, Action, Move, Split, Task
from agentlm.environments.taskfile import malformed, read_text
from agentlm.errors import OperatorError
from agentlm.files import json_lines
from agentlm.messages import Frozen, ToolCall, ToolSpec
from agentlm.tools.functions import FunctionTool
from agentlm.tools.schema import arguments_of, spec_of

_SAME_IN_A_ROW = 10_000
"""After so many tasks that existed already, the stream is considered exhausted."""


@dataclass(frozen=True)
class Problem:
    """An author's description of one task. Everything except the first field is optional."""

    instruction: str
    parameters: dict[str, Any] = field(default_factory=dict)
    """JSON that the world needs to open and score the task. The player does not see it."""
    family: str = "all"
    """Kind of problem, for reports."""
    template: str = ""
    """What it was made from, for reports; by default the family."""
    gold: tuple[Move, ...] = ()
    """An expert's moves. Without them `--player gold` and `--one-shot` are not available."""


class World:
    """One try at one task. See the module's docstring for what a subclass has."""

    name: ClassVar[str] = ""
    """Its name in the log and in reports; by default the class's name."""
    max_turns: ClassVar[int] = 10
    """How many calls a player has; the final answer does not count."""
    max_equal_calls: ClassVar[int] = MAX_EQUAL_CALLS
    """So many equal calls in a row end a try. More where waiting, or looking again, makes sense."""

    earned: float = 0.0
    """Reward so far, in [0, 1]: partial credit, also for a try that runs out of calls."""
    over: bool = False
    """Set when the world has ended: the try ends without an answer."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.parameters = parameters

    @classmethod
    def tasks(cls, split: Split, seed: int) -> Iterable[Problem]:
        """The tasks of a split.

        An override without `split` yields all tasks; each belongs to a split by its digest.
        """
        raise OperatorError(f"{cls.__name__} has no method tasks(), which yields its problems")

    @classmethod
    def shared(cls) -> AbstractAsyncContextManager[object]:
        """What all tries have in common, open as long as any is played. By default nothing."""
        return nullcontext()

    def start(self) -> object:
        """Make the world ready; may be async. Nothing is done by default."""

    def score(self, answer: str) -> Any:
        """How well it went, in [0, 1]; by default the earned reward. May be async."""
        return self.earned

    def close(self) -> object:
        """Remove what `start` made; may be async."""

    @classmethod
    def specs(cls) -> tuple[ToolSpec, ...]:
        """The calls that players have; by default the public methods."""
        specs = (spec_of(tool) for tool in tools_of(cls).values())
        return tuple(spec.model_copy(update={"owner": "client"}) for spec in specs)

    @classmethod
    def specs_of(cls, parameters: dict[str, Any]) -> tuple[ToolSpec, ...]:
        """What the player of one task can call; by default the same as in all."""
        return cls.specs()

    def refused(self) -> object:
        """A call did not fit the tools and is not run. Nothing is done by default."""

    def act(self, action: Action) -> Any:
        """Run one call; by default the method of that name. May be async."""
        arguments = arguments_of(_call(action), tools_of(type(self))[action.name].Args)
        values = {name: getattr(arguments, name) for name in type(arguments).model_fields}
        return getattr(self, action.name)(**values)


def tools_of(world: type[World]) -> dict[str, FunctionTool]:
    """The public methods of a class that `World` lacks. Raises OperatorError for an invalid one."""
    return _tools_of(cast(Any, world))


@cache
def _tools_of(world: Any) -> dict[str, FunctionTool]:
    methods = {
        name: method
        for base in reversed(world.__mro__)
        if issubclass(base, World) and base is not World
        for name, method in vars(base).items()
        if inspect.isfunction(method) and not name.startswith("_") and not hasattr(World, name)
    }
    return {
        # The class's own first parameter is bound: players need not pass it.
        name: FunctionTool(method.__get__(world))
        for name, method in methods.items()
        if method.__doc__
    }


class WorldEnvironment:
    """`Environment` for a class of worlds."""

    def __init__(self, world: type[World], name: str | None = None) -> None:
        if not (world.__doc__ or "").strip() or world.__doc__ == World.__doc__:
            raise OperatorError(f"{world.__name__} has no docstring, which opens the prompt")
        self.name = name or world.name or world.__name__
        self.max_turns = world.max_turns
        self.max_equal_calls = world.max_equal_calls
        self._world = world
        self._specs = world.specs()

    def tools(self) -> tuple[ToolSpec, ...]:
        return self._specs

    def tools_of(self, task: Task) -> tuple[ToolSpec, ...]:
        return self._world.specs_of(task.parameters)

    def prompt(self, task: Task) -> str:
        """A description of the world, then the task."""
        return f"{inspect.cleandoc(self._world.__doc__ or '')}\n\n{task.instruction}"

    def generate(self, split: Split, seed: int = 0) -> Iterator[Task]:
        """The distinct tasks of a split, as many as there are."""
        dealt = "split" in inspect.signature(self._world.tasks).parameters
        seen: set[str] = set()
        same = 0
        for task in self._tasks(split, seed):
            same = same + 1 if task.id in seen else 0
            if same > _SAME_IN_A_ROW:
                return
            seen.add(task.id)
            if not same and (dealt or split_of(task.id) == split):
                yield task

    def shared(self) -> AbstractAsyncContextManager[object]:
        return self._world.shared()

    def load(self, path: Path, split: Split) -> list[Task]:
        """Reads JSON lines with the fields of `Problem`."""
        return list(self._lines(path, split))

    @asynccontextmanager
    async def open(self, task: Task) -> AsyncIterator[OpenWorld]:
        """An object of the class, started."""
        opened = OpenWorld(self._world, Worker())
        try:
            await opened.start(task.parameters)
            yield opened
        finally:
            await opened.close()

    def _tasks(self, split: Split, seed: int) -> Iterator[Task]:
        listed = self._world.tasks
        wanted = inspect.signature(listed).parameters
        options: dict[str, Any] = {"split": split, "seed": seed}
        try:
            for problem in listed(
                **{key: value for key, value in options.items() if key in wanted}
            ):
                yield self._task(problem, split)
        except OperatorError:
            raise
        except Exception as error:
            raise OperatorError(
                f"{self.name}: tasks() broke: {type(error).__name__}: {error}"
            ) from error

    def _task(self, problem: object, split: Split) -> Task:
        if not isinstance(problem, Problem):
            raise OperatorError(
                f"{self.name}: tasks() gave a {type(problem).__name__}; a Problem is allowed"
            )
        try:
            json.dumps(problem.parameters, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise OperatorError(f"{self.name}: parameters must be JSON: {error}") from error
        return Task(
            environment=self.name,
            template=problem.template or problem.family,
            family=problem.family,
            split=split,
            instruction=problem.instruction,
            parameters=problem.parameters,
            gold=problem.gold,
        )

    def _lines(self, path: Path, split: Split) -> Iterator[Task]:
        for number, line in enumerate(json_lines(read_text(path)), 1):
            if line.strip():
                try:
                    fields = _Line.model_validate_json(line)
                except ValidationError as error:
                    raise malformed(path, number, error) from error
                yield self._task(Problem(**dict(fields)), split)


class _Line(Frozen):
    """One task of a file."""

    instruction: str
    parameters: dict[str, Any] = {}
    family: str = "all"
    template: str = ""
    gold: tuple[Move, ...] = ()


class OpenWorld:
    """One try in a world, and the thread in which the world lives."""

    def __init__(self, world: type[World], worker: Worker) -> None:
        self._kind = world
        self._worker = worker
        self._opened: World | None = None

    @property
    def earned(self) -> float:
        return self._world.earned

    @property
    def over(self) -> bool:
        return bool(self._world.over)

    async def start(self, parameters: dict[str, Any]) -> None:
        """Make the object and start it."""
        self._opened = await self._worker.run(lambda: self._kind(parameters))
        await self._run(self._world.start)

    async def act(self, action: Action) -> Observation:
        """Run one call. A result that is not text becomes JSON."""
        try:
            result = await self._run(self._world.act, action)
        except ToolError as error:
            return Observation(f"error: {error}", failed=True)
        if isinstance(result, Observation):
            return result
        return Observation(result if isinstance(result, str) else json.dumps(result, default=str))

    async def refused(self) -> None:
        await self._run(self._world.refused)

    async def score(self, answer: str) -> float:
        return float(await self._run(self._world.score, answer))

    async def close(self) -> None:
        """Let the object clean up, if it was ever made; if it hangs, whenever it returns."""
        opened = self._opened
        if self._worker.stuck:
            self._worker.close(opened.close if opened else lambda: None)
            return
        try:
            if opened is not None:
                await self._run(opened.close)
        finally:
            self._worker.close()

    @property
    def _world(self) -> World:
        assert self._opened is not None
        return self._opened

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        result = await self._worker.run(lambda: function(*arguments))
        return await result if inspect.isawaitable(result) else result


def _call(action: Action) -> ToolCall:
    return ToolCall(id="", name=action.name, arguments=json.dumps(action.arguments))
