"""docs/architecture.md is a map of this tree: its layers, its folders, its words."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
PARTS = ("core", "server", "tools", "finetune", "environments", "clients")
SECTIONS = dict(
    section.split("\n", 1) for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
)
NOUNS_AT_MOST = 40


def packages() -> list[Path]:
    return [init.parent for part in PARTS for init in (ROOT / part).rglob("__init__.py")]


def test_the_picture_is_the_import_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    first = project["tool"]["importlinter"]["contracts"][0]
    picture = SECTIONS["Layers"].split("```")[1].strip().splitlines()
    assert picture == first["layers"]
    assert len(picture) <= 12


def test_every_folder_is_explained() -> None:
    for package in packages():
        assert f"`{package.relative_to(ROOT).as_posix()}/`" in SECTIONS["Folders"]


@pytest.mark.parametrize("section", SECTIONS)
def test_what_the_page_names_is_there(section: str) -> None:
    for name in re.findall(r"`((?:\w+/)+[\w.]*)`", SECTIONS[section]):
        assert (ROOT / name).exists(), name


def test_a_noun_is_one_class() -> None:
    words = [line.split("|")[1] for line in SECTIONS["Words"].splitlines() if "|" in line][2:]
    assert sum(cell.count(",") + 1 for cell in words) <= NOUNS_AT_MOST
    classes = Counter(
        node.name
        for part in PARTS
        for file in (ROOT / part).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    nouns = [noun for cell in words for noun in re.findall(r"`(\w+)`", cell)]
    assert {noun: classes[noun] for noun in nouns} == dict.fromkeys(nouns, 1)


def test_every_folder_says_what_it_is() -> None:
    for package in packages():
        assert ast.get_docstring(ast.parse((package / "__init__.py").read_text())), package
