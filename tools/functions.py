"""Own tools: a Python function with type hints and a docstring is one.

    def weather(city: str) -> str:
        '''Tell the weather of a city.'''
        return f"{city}: sunny"

The schema is derived from the hints (`Annotated[str, Field(description=…)]` adds a description),
and the model reads the docstring. A parameter of type `ToolContext` is filled in by the server. The
public functions of a file or module, or a single function named by an entry point of the group
`agentlm.tools`, form a family with the name of that file or entry point.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, PydanticUserError, create_model

from agentlm.agent.tool import Tool, ToolContext
from agentlm.errors import OperatorError
from agentlm.tools.settings import ToolSettings

GROUP = "agentlm.tools"
_THREADS = 16


class FunctionTool:
    """A function as a tool. Functions that are not async run in threads, which can't be killed."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = function.__name__
        self.__doc__ = inspect.getdoc(function)
        self.Args, self._context_name = _arguments(function)
        self._function = function
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=self.name)

    async def run(self, args: BaseModel, context: ToolContext) -> str:
        """Call it. A result that is not text becomes JSON."""
        arguments = {name: getattr(args, name) for name in type(args).model_fields}
        if self._context_name:
            arguments[self._context_name] = context
        if inspect.iscoroutinefunction(self._function):
            result = await self._function(**arguments)
        else:
            call = partial(self._function, **arguments)
            result = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        return result if isinstance(result, str) else json.dumps(result, default=str)

    async def release(self, trajectory_id: str) -> None:
        """We know of no state that a function keeps."""

    async def close(self) -> None:
        """End its threads once they are idle."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def own_families(settings: ToolSettings) -> dict[str, Callable[[], Awaitable[tuple[Tool, ...]]]]:
    """Functions that open each family of own tools: from files of the settings, then entry
    points."""
    files = {path.stem: partial(_open_file, path) for path in settings.tool_files}
    points = {point.name: partial(_open_entry_point, point) for point in entry_points(group=GROUP)}
    return {**points, **files}


def function_tools(functions: Sequence[Callable[..., Any]], where: str) -> tuple[Tool, ...]:
    """Tools made from functions. Raises OperatorError with what a function lacks."""
    if not functions:
        raise OperatorError(f"{where} has no public function with a docstring")
    return tuple(FunctionTool(function) for function in functions)


async def _open_file(path: Path) -> tuple[Tool, ...]:
    spec = importlib.util.spec_from_file_location(f"agentlm_own_{path.stem}", path)
    if spec is None or spec.loader is None or not await asyncio.to_thread(path.is_file):
        raise OperatorError(f"tool_files: there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    _loaded(partial(spec.loader.exec_module, module), str(path))
    return function_tools(_public(module), str(path))


async def _open_entry_point(point: EntryPoint) -> tuple[Tool, ...]:
    target = _loaded(point.load, f"entry point {point.name}")
    functions = _public(target) if inspect.ismodule(target) else [target]
    return function_tools(functions, f"entry point {point.name}")


def _loaded(load: Callable[[], Any], where: str) -> Any:
    """Exceptions while loading an operator's code become errors for the operator."""
    try:
        return load()
    except Exception as error:
        raise OperatorError(f"{where} can't be loaded: {type(error).__name__}: {error}") from error


def _public(module: ModuleType) -> list[Callable[..., Any]]:
    return [
        function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_") and function.__doc__
    ]


def _arguments(function: Callable[..., Any]) -> tuple[type[BaseModel], str | None]:
    """The argument model, and the name of the parameter for the context."""
    where = f"{function.__name__} in {inspect.getsourcefile(function)}"
    if not function.__doc__:
        raise OperatorError(f"{where} has no docstring to tell the model what it does")
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    context_name = None
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise OperatorError(f"{where}: *{name} can't be described to a model")
        if name not in hints:
            raise OperatorError(f"{where}: {name} has no type hint")
        if hints[name] is ToolContext:
            context_name = name
        else:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (hints[name], default)
    try:
        model = create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
        model.model_json_schema()
    except PydanticUserError as error:
        reason = str(error).partition("\n")[0]
        raise OperatorError(f"{where}: no schema can be made of its hints: {reason}") from error
    return model, context_name
