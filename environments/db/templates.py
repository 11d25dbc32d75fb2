"""The templates: what is asked, in each split's own words, and how an expert does it.

A skill is one kind of task (`select.yaml`, `write.yaml`, `relations.yaml`, `chinook.yaml`); a
template is a skill in one phrasing. A phrasing belongs to one split, so a template does too. A slot
is filled as an identifier or a literal in SQL and as words in text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from agentlm.environments.data_files import read_yaml
from agentlm.environments.db.mysql.schema import quoted
from agentlm.environments.phrases import Alternatives, phrasebook, with_articles
from agentlm.environments.task import Split
from agentlm.messages import Frozen

PACKAGE = "agentlm.environments.db"

Value = str | int | float

_FILES = ("select.yaml", "write.yaml", "relations.yaml", "chinook.yaml")
_SLOT = re.compile(r"\{(\w+)\}")


class Identifier(str):
    """The name of a table or column."""


class Word(str):
    """A word of the language, such as what a row is called: neither a name nor a value."""


Slots = Mapping[str, Value]


class Stage(Frozen):
    """One statement of the expert and its reason."""

    think: str
    sql: str


class Skill(Frozen):
    """One kind of task."""

    family: str
    ask: Alternatives
    """Sentences with choices, for all splits or by split."""
    ways: tuple[tuple[Stage, ...], ...]
    """Several ways to the same answer; the others are checked against the first."""
    answer: str
    """The thought before the final answer."""
    distinct: str | None = None
    """A query whose values must all differ."""
    held_out: bool = False
    """Only test-kinds has it."""
    exact: bool = False
    """The table has no columns beside those that are named."""
    hidden: bool = False
    """The columns are not stated."""
    tables: tuple[str, ...] = ()
    """Chinook's tables that the task needs; empty: generated ones."""
    bind: dict[str, str] = {}
    """Slot → query for its values (Chinook)."""
    fresh: dict[str, str] = {}
    """Slot → pool of names for a new value (Chinook)."""

    @property
    def changes(self) -> bool:
        """Whether it alters data, so that the data is scored and not the answer."""
        return self.family in ("INSERT", "UPDATE", "DELETE")


class Template(NamedTuple):
    """A skill in one phrasing."""

    id: str
    skill: Skill
    phrasing: str
    weight: float
    """How often training draws it."""

    @property
    def slots(self) -> set[str]:
        """All slots that need a value."""
        stages = [text for way in self.skill.ways for stage in way for text in stage]
        texts = [self.phrasing, self.skill.answer, self.skill.distinct or "", *map(str, stages)]
        return set(_SLOT.findall(" ".join(texts)))


@cache
def skills() -> dict[str, Skill]:
    named: dict[str, Skill] = {}
    for file in _FILES:
        named |= {name: Skill.model_validate(it) for name, it in read_yaml(PACKAGE, file).items()}
    return named


@cache
def templates(split: Split) -> dict[str, list[Template]]:
    """A split's templates by skill."""
    book = phrasebook(PACKAGE)
    return {
        name: [
            Template(f"{name}/{split}/{number}", skill, phrasing, weight)
            for number, (phrasing, weight) in enumerate(book.phrasings(skill.ask, split).items())
        ]
        for name, skill in skills().items()
        if skill.held_out == (split == "test-kinds")
    }


def in_sql(text: str, slots: Slots) -> str:
    """Fill a statement."""
    return text.format_map({name: literal(value) for name, value in slots.items()})


def in_words(text: str, slots: Slots, names: str = "", values: str = "") -> str:
    """Fill a sentence; `names` and `values` are the quotes that each is put in."""
    words = {name: as_prose(value, names, values) for name, value in slots.items()}
    return with_articles(text, words).format_map(words)


def as_prose(value: Value, names: str = "", values: str = "") -> str:
    """A value as a person writes it, in quotes where it has none itself."""
    quote = names if isinstance(value, Identifier) else values
    if not isinstance(value, str) or isinstance(value, Word) or quote in value:
        quote = ""
    return f"{quote}{plain(value)}{quote}"


def links(text: str, slots: Slots) -> str:
    """What a statement is made of: its tables, columns and values, as they are written in it."""
    used = {name: slots[name] for name in _SLOT.findall(text)}
    tables = [literal(value) for name, value in used.items() if name.startswith("table")]
    columns = [
        literal(value)
        for name, value in used.items()
        if isinstance(value, Identifier) and not name.startswith("table")
    ]
    values = [literal(value) for value in used.values() if not isinstance(value, Identifier)]
    named = [_named("table", tables), _named("column", columns), _named("value", values)]
    sentence = ", ".join(part for part in named if part)
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def plain(value: Value) -> str:
    """A value's own text."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def literal(value: Value) -> str:
    """A value as SQL writes it."""
    if isinstance(value, Identifier):
        return quoted(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def _named(what: str, written: list[str]) -> str:
    unique = list(dict.fromkeys(written))
    return f"{what}{'s' if len(unique) > 1 else ''} {', '.join(unique)}" if unique else ""
