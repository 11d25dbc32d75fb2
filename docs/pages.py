"""What `make docs` takes from the code, so that no page repeats it: a hook of mkdocs.

`<!-- settings -->` on a page becomes the settings of every command, `<!-- fields NAME -->` those of
a class of the record. CONTRIBUTING.md and CHANGELOG.md of the root are pages too.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import CliPositionalArg

from agentlm import trajectory
from agentlm.cli import COMMANDS
from agentlm.settings import Settings

ROOT = Path(__file__).parents[1]
OF_THE_ROOT = ("CONTRIBUTING.md", "CHANGELOG.md")
POSITIONAL = get_args(CliPositionalArg[str])[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie in the root, whose links are to `docs/`."""
    for name in OF_THE_ROOT:
        text = (ROOT / name).read_text().replace("](docs/", "](")
        files.append(File.generated(config, name.lower(), content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is generated, and turn links to the root's pages into ones to their copies."""
    for name in OF_THE_ROOT:
        markdown = markdown.replace(f"](../{name})", f"]({name.lower()})")
    markdown = markdown.replace("<!-- settings -->", "\n".join(settings_tables()))
    return re.sub(r"<!-- fields (\w+) -->", lambda match: fields_table(match[1]), markdown)


def command_settings() -> dict[str, type[Settings]]:
    """The settings of each command, by how it is typed: `serve`, `logs list`."""
    by_command: dict[str, type[Settings]] = {}
    for name, command in COMMANDS.items():
        module = importlib.import_module(command.entry.partition(":")[0])
        if hasattr(module, "COMMANDS"):
            by_command |= {f"{name} {sub}": it.settings for sub, it in module.COMMANDS.items()}
        else:
            by_command[name] = _most_derived(vars(module).values())
    return by_command


def settings_tables() -> Iterator[str]:
    """A section for each class of settings: those that commands share, then each command's own."""
    commands = command_settings()
    ancestors = [it for settings in commands.values() for it in _ancestors(settings)]
    shared = [
        it
        for it in dict.fromkeys(ancestors)
        if it not in commands.values() and len(_users(it, commands)) > 1
    ]
    for settings in shared:
        users = "every command" if settings is Settings else _listed(_users(settings, commands))
        yield f"\n## {_title(settings)}\n\nSettings of {users}.\n"
        yield from _rows(settings)
    for name, settings in commands.items():
        links = [f"[{_title(it)}](#{_anchor(it)})" for it in shared if issubclass(settings, it)]
        yield f"\n## `agentlm {name}`\n\n{_first_paragraph(settings)}\n"
        yield from _rows(settings)
        for ancestor in _ancestors(settings):
            if ancestor not in shared:
                yield f"\n{_first_paragraph(ancestor)}\n"
                yield from _rows(ancestor)
        yield f"\nBeside these: {', '.join(links)}.\n"


def fields_table(name: str) -> str:
    """The fields of a class of the record."""
    model: type[BaseModel] = getattr(trajectory, name)
    properties = model.model_json_schema()["properties"]
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for field, info in model.model_fields.items():
        meaning = _cell(info.description or "")
        rows.append(f"| `{field}` | {_type(properties[field])} | {meaning} |")
    return "\n".join(rows)


def _most_derived(values: Iterable[object]) -> type[Settings]:
    classes = [it for it in values if isinstance(it, type) and issubclass(it, Settings)]
    (leaf,) = [
        it for it in classes if not any(one is not it and issubclass(one, it) for one in classes)
    ]
    return leaf


def _ancestors(settings: type[Settings]) -> list[type[Settings]]:
    """The classes of settings that one inherits from, the most general first."""
    return [it for it in reversed(settings.__mro__[1:]) if issubclass(it, Settings)]


def _users(settings: type[Settings], commands: dict[str, type[Settings]]) -> list[str]:
    return [name for name, it in commands.items() if issubclass(it, settings)]


def _rows(settings: type[Settings]) -> Iterator[str]:
    """A table of the fields that are a class's own, or that it words otherwise than an ancestor."""
    shortcuts = settings.model_config.get("cli_shortcuts") or {}
    rows = []
    for name, info in settings.model_fields.items():
        if any(_same(it.model_fields.get(name), info) for it in _ancestors(settings)):
            continue
        flags = [name.upper() if POSITIONAL in info.metadata else f"--{name.replace('_', '-')}"]
        short = shortcuts.get(name.replace("_", "-"))
        if isinstance(short, str):
            flags.append(f"-{short}" if len(short) == 1 else f"--{short}")
        default = "required" if info.is_required() else _default(info)
        rows.append(f"| {_listed(flags)} | {default} | {_cell(info.description or '')} |")
    if rows:
        yield "\n".join(["| flag | default | meaning |", "|---|---|---|", *rows])


def _same(old: FieldInfo | None, new: FieldInfo) -> bool:
    return old is not None and (old.description, old.default) == (new.description, new.default)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _default(info: FieldInfo) -> str:
    value: Any = info.get_default(call_default_factory=False)
    if value in (None, PydanticUndefined, False, (), {}):
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    if value is True:
        return "yes"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words: what stands in a record that was exported."""
    if "$ref" in schema:
        return f"{schema['$ref'].rpartition('/')[2]}"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", "any"))


def _title(settings: type[Settings]) -> str:
    if settings is Settings:
        return "Every command"
    return re.split(r"[.:;]\s", _first_paragraph(settings) + " ")[0].rstrip(".")


def _first_paragraph(settings: type[Settings]) -> str:
    return " ".join(inspect.cleandoc(settings.__doc__ or "").split("\n\n")[0].split())


def _anchor(settings: type[Settings]) -> str:
    """As mkdocs makes it of a heading."""
    return re.sub(r"[^\w -]", "", _title(settings).lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
