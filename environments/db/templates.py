"""The templates: what is asked, in each split's own words, and how an expert does it.

A skill is one kind of task (`select.yaml`, `write.yaml`, `chinook.yaml`); a template is a skill in
one phrasing. A phrasing belongs to one split, so a template does too. A slot is filled as an
identifier or a literal in SQL and as plain words in text.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from agentlm.environments.data_files import read_yaml
from agentlm.environments.db.database import quoted
from agentlm.environments.task import Split
from agentlm.messages import Frozen

_PACKAGE = "agentlm.environments.db"

Value = str | int | float


class Identifier(str):
    """The name of a table or column."""


Slots = Mapping[str, Value]


class Stage(Frozen):
    """One statement of the expert and its reason."""

    think: str
    sql: str


class Skill(Frozen):
    """One kind of task."""

    family: str
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]
    steps: tuple[Stage, ...]
    answer: str
    """The thought before the final answer."""
    distinct: str | None = None
    """A query whose values must all differ."""
    tables: tuple[str, ...] = ()
    """Chinook's tables that the task needs; empty: a generated table."""
    bind: dict[str, str] = {}
    """Slot → query for its values (Chinook)."""
    fresh: dict[str, str] = {}
    """Slot → pool of names for a new value (Chinook)."""

    @property
    def changes(self) -> bool:
        """Whether it alters data, so that the data is scored and not the answer."""
        return self.family in ("INSERT", "UPDATE", "DELETE")

    def phrasings(self, split: Split) -> tuple[str, ...]:
        """Its wordings in one split."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[split]


class Template(NamedTuple):
    """A skill in one phrasing."""

    id: str
    skill: Skill
    phrasing: str


class TableKind(Frozen):
    """One kind of generated table; column kinds are explained in tables.yaml."""

    table: str
    row: str
    rows: str
    columns: dict[str, str]


@cache
def skills() -> dict[str, Skill]:
    """All skills by name."""
    named: dict[str, Skill] = {}
    for file in ("select.yaml", "write.yaml", "chinook.yaml"):
        named |= {name: Skill.model_validate(it) for name, it in read_yaml(_PACKAGE, file).items()}
    return named


@cache
def table_kinds(split: Split) -> tuple[TableKind, ...]:
    """The kinds of table in a split."""
    return tuple(
        TableKind.model_validate(fields) for fields in read_yaml(_PACKAGE, "tables.yaml")[split]
    )


def templates(split: Split) -> dict[str, list[Template]]:
    """A split's templates by skill."""
    return {
        name: [
            Template(f"{name}/{split}/{number}", skill, phrasing)
            for number, phrasing in enumerate(skill.phrasings(split))
        ]
        for name, skill in skills().items()
    }


def in_sql(text: str, slots: Slots) -> str:
    """Fill a statement."""
    return text.format_map({name: _sql(value) for name, value in slots.items()})


def in_words(text: str, slots: Slots) -> str:
    """Fill a sentence."""
    return text.format_map({name: plain(value) for name, value in slots.items()})


def plain(value: Value) -> str:
    """A value as a person writes it."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _sql(value: Value) -> str:
    if isinstance(value, Identifier):
        return quoted(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)
