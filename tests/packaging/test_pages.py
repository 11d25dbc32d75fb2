"""Pages say what is so: their commands are understood, their links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import runpy
import shlex
import sqlite3
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentlm.cli import COMMANDS, main
from agentlm.finetune.recipes import with_shipped_recipe
from agentlm.finetune.settings import FinetuneSettings
from agentlm.server.app import openapi
from agentlm.server.settings import ServeSettings
from agentlm.server.vllm.flags import check_written
from agentlm.settings import parse_known
from agentlm.trajectory import Trajectory

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
}
HOOK = runpy.run_path(str(ROOT / "docs/pages.py"))
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    [^\n]*\n)+", re.MULTILINE)
PROGRAM = re.compile(r"^(?:\$ )?(agentlm(?:-serve|-finetune)?|make|python3? -m agentlm\S*|curl) ")


def blocks(page: str, language: str) -> list[str]:
    return [text for name, text in FENCED.findall(PAGES[page]) if name == language]


def commands(program: str) -> list[Any]:
    """Every command line of a program in the blocks of all pages, one test each."""
    found = []
    for page, text in PAGES.items():
        code = [code for _, code in FENCED.findall(text)]
        code += [re.sub("^    ", "", block, flags=re.M) for block in INDENTED.findall(text)]
        for line in "\n".join(code).replace("\\\n", " ").splitlines():
            named = PROGRAM.match(line)
            if named and named[1].startswith(program):
                # The body of a request goes on over the next lines.
                split = str.split if program == "curl" else shlex.split
                words = split(line.removeprefix("$ ").partition(" # ")[0])
                found.append(pytest.param(words, id=f"{page}: {' '.join(words)[:70]}"))
    return found


def until_the_shell_goes_on(words: list[str]) -> list[str]:
    ends = [i for i, word in enumerate(words) if word in ("|", ">", "&", "&&", ";")]
    return words[: min(ends, default=len(words))]


@pytest.mark.parametrize("words", commands("agentlm"))
def test_a_command_on_a_page_is_understood(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = until_the_shell_goes_on(words)
    if program != "agentlm":
        arguments = [program.removeprefix("agentlm-"), *arguments]
    settings = HOOK["command_settings"]()
    name = " ".join(arguments[:2]) if " ".join(arguments[:2]) in settings else arguments[0]
    if arguments[0] not in settings and arguments[-1] == "--help":
        assert main(arguments) == 0
        return
    flags = arguments[len(name.split()) :]
    if "--help" in flags:
        return
    if settings[name] is FinetuneSettings:
        flags = with_shipped_recipe(flags)
    if "--config" in flags and not Path(flags[flags.index("--config") + 1]).exists():
        del flags[flags.index("--config") : flags.index("--config") + 2]
    _, unknown = parse_known(settings[name], without_worlds(flags), f"agentlm {name}")
    if settings[name] is ServeSettings:
        check_written(unknown)
    else:
        assert not unknown


def without_worlds(flags: list[str]) -> list[str]:
    """A world of one's own is looked for as soon as it is named."""
    return ["db" if ".py:" in flag else flag for flag in flags]


@pytest.mark.parametrize("words", commands("make"))
def test_a_target_of_make_on_a_page_is_one(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [word for word in words[1:] if "=" not in word] <= targets or words[1] in targets


@pytest.mark.parametrize("words", commands("python"))
def test_a_module_on_a_page_is_one(words: list[str]) -> None:
    assert importlib.util.find_spec(words[2]) is not None


@cache
def routes() -> dict[str, Any]:
    return openapi()["paths"]


@pytest.mark.parametrize("words", commands("curl"))
def test_a_request_on_a_page_has_a_route(words: list[str]) -> None:
    url = next(word for word in words[1:] if re.match(r"(https?://)?(localhost|127|\$URL)", word))
    path = re.sub(r"^(https?://)?[^/]*", "", url).split("?")[0]
    shapes = [re.sub(r"\{path\}", ".+", re.sub(r"\{(?!path)\w+\}", "[^/]+", it)) for it in routes()]
    assert any(re.fullmatch(shape, path) for shape in shapes), path


def test_every_route_is_told_of_on_the_api_page() -> None:
    table = PAGES["docs/api.md"].partition("## Routes")[2].partition("\n## ")[0]
    listed = re.findall(r"`(/[^`]*)`", table)
    assert [it for it in routes() if not any(it.startswith(path) for path in listed)] == []
    assert [path for path in listed if not any(it.startswith(path) for it in routes())] == []


@pytest.mark.parametrize("page", PAGES)
def test_examples_on_a_page_are_well_formed(page: str) -> None:
    for text in blocks(page, "python"):
        ast.parse(text)
    for text in blocks(page, "yaml"):
        yaml.safe_load(text)


def test_every_setting_of_every_command_is_on_the_configuration_page() -> None:
    page = "\n".join(HOOK["settings_tables"]())
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    assert {name.split()[0] for name in HOOK["command_settings"]()} == COMMANDS.keys()
    for name, settings in HOOK["command_settings"]().items():
        section = sections[f"`agentlm {name}`"]
        shared = re.findall(r"\[([^]]+)\]\(#", section.rpartition("Beside these")[2])
        tables = section + "".join(sections[title] for title in shared)
        for field in settings.model_fields:
            assert f"`--{field.replace('_', '-')}`" in tables or f"`{field.upper()}`" in tables, (
                field
            )


def test_the_settings_file_on_the_configuration_page_is_one(tmp_path: Path) -> None:
    (text,) = blocks("docs/configuration.md", "yaml")
    (tmp_path / "serve.yaml").write_text(text)
    flags = ["--config", str(tmp_path / "serve.yaml")]
    settings, unknown = parse_known(ServeSettings, flags, "agentlm serve")
    assert (settings.bash_memory_mb, settings.tools, unknown) == (1024, ("bash", "sql"), [])


def test_the_record_on_its_page_is_one() -> None:
    (text,) = blocks("docs/trajectory.md", "json")
    record = Trajectory.model_validate_json(text)
    assert [step.origin[0] for step in record.steps] == ["p", "s", "p", "f", "s"]
    assert len(list(record.token_ids())) == 29


def test_a_backup_by_the_command_on_its_page_is_the_log(tmp_path: Path) -> None:
    log = sqlite3.connect(tmp_path / "agentlm.db")
    log.execute("PRAGMA journal_mode = WAL")
    log.execute("CREATE TABLE a AS SELECT 1 AS b")
    log.commit()
    (line,) = [
        line
        for text in blocks("docs/operations.md", "sh")
        for line in text.splitlines()
        if "VACUUM INTO" in line
    ]

    program = [sys.executable, *shlex.split(line)[1:]]
    subprocess.run(program, cwd=tmp_path, check=True)

    assert sqlite3.connect(tmp_path / "backup.db").execute("SELECT b FROM a").fetchall() == [(1,)]
    log.close()


def test_what_troubleshooting_quotes_is_said_by_a_program() -> None:
    table = PAGES["docs/operations.md"].split("## Troubleshooting")[1]
    quoted = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    files = [
        *ROOT.glob("Makefile"),
        *(it for part in ("core", "server", "tools") for it in ROOT.glob(f"{part}/**/*.py")),
    ]
    source = "\n".join(file.read_text() for file in files)
    assert len(quoted) > 10
    assert [words for words in quoted if words not in source] == []


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[page]):
        # The site has these of the root beside the pages of docs/.
        of_the_root = ROOT / target.upper().replace(".MD", ".md")
        assert (ROOT / page).parent.joinpath(target).exists() or of_the_root.exists(), target


def test_every_page_is_linked_from_the_first() -> None:
    for page in PAGES:
        if page.startswith("docs/") and page.count("/") == 1 and page != "docs/index.md":
            assert f"({page})" in PAGES["README.md"], page


def test_the_first_page_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150


@pytest.mark.parametrize("page", [page for page in PAGES if "decisions/" in page])
def test_a_decision_has_a_date_and_a_state(page: str) -> None:
    dates = []
    for section in PAGES[page].split("\n## ")[1:]:
        title, _, stated, *_ = section.split("\n")
        line = re.fullmatch(r"\*(\d{4}-\d\d-\d\d) · (in force|replaced).*\*", stated)
        assert line, f"{title}: {stated}"
        dates.append(line[1])
    assert dates == sorted(dates)


def test_decisions_stand_on_the_pages_of_their_areas() -> None:
    assert "\n## " not in PAGES["docs/decisions.md"]
    for page in (ROOT / "docs/decisions").iterdir():
        assert f"(decisions/{page.name})" in PAGES["docs/decisions.md"]


def test_the_site_has_every_page() -> None:
    listed = json.dumps(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    for page in PAGES:
        assert page.removeprefix("docs/").lower() in listed or page == "README.md"
