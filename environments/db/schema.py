"""Tables that are drawn anew for every task: what they are called, what they hold.

A name is one to three words of the task's split in one of the ways in which people write names. In
a stream of tasks no table has the name of another, and a column's name comes only a few times: a
player who wants to be right has to copy the names that the question gives.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from random import Random
from typing import Any

from agentlm.environments.data_files import read_yaml
from agentlm.environments.db.parts import Part, Parts
from agentlm.environments.db.templates import Identifier, Value
from agentlm.environments.names import plural, pool, words
from agentlm.environments.task import Split

_SAME_COLUMN = 3
"""How often the name of a column may come in one stream of tasks."""
_MIN_COLUMNS, _MAX_COLUMNS = 3, 8
_MIN_ROWS, _MAX_ROWS = 14, 60
_MIN_GROUPS, _MAX_GROUPS = 3, 9
_FIRST_YEAR, _LAST_YEAR = 1990, 2026
_EXTRA = ("pick", "int", "money", "date")


@dataclass(frozen=True)
class Column:
    """A name, what is in it (name, pick, int, money, date, id) and its SQL type."""

    name: Identifier
    kind: str
    type: str
    draw: Callable[[int], list[Value]]
    """Draws so many values for it."""


@dataclass(frozen=True)
class Table:
    """One table with rows, and what a row of it is called."""

    name: Identifier
    row: str
    rows_word: str
    columns: tuple[Column, ...]
    rows: list[list[Value]]

    @property
    def typed(self) -> list[tuple[str, str]]:
        """(name, SQL type) of each column."""
        return [(str(column.name), column.type) for column in self.columns]

    @property
    def columns_named(self) -> list[Identifier]:
        return [column.name for column in self.columns]

    def values(self, name: str) -> list[Value]:
        """One column, in row order."""
        index = self.columns_named.index(Identifier(name))
        return [row[index] for row in self.rows]

    def of_kind(self, *kinds: str) -> list[Identifier]:
        return [column.name for column in self.columns if column.kind in kinds]


@dataclass
class UsedNames:
    """Names that a stream of tasks has had."""

    tables: set[str] = field(default_factory=set)
    columns: Counter[str] = field(default_factory=Counter)

    def add(self, tables: Sequence[Table]) -> None:
        """Note a task's names."""
        for table in tables:
            self.tables.add(_key(table.name))
            self.columns.update(_key(column.name) for column in table.columns)


class Drawing:
    """Chance for one task's tables, and the names that are taken."""

    def __init__(self, parts: Parts, random: Random, used: UsedNames) -> None:
        self.parts = parts
        self.random = random
        self._used = used
        self._taken: set[str] = set()
        self._style = random.choice(_STYLES)
        self._other_style = random.choice(_STYLES)

    def table(self, needed: Sequence[str], exact: bool = False) -> Table:
        """One with columns of the kinds needed, and some more unless `exact`."""
        row = self._row_word()
        kinds = list(needed)
        if not exact:
            least = max(_MIN_COLUMNS, len(kinds))
            wanted = self.random.randint(least, max(least, _MAX_COLUMNS))
            kinds += self.random.choices(_EXTRA, k=wanted - len(kinds))
        name = self._table_name(row)
        columns = [self._column(kind) for kind in kinds]
        if self.random.random() < 0.5:
            first, *others = columns
            self.random.shuffle(others)
            columns = [first, *others]
        count = self.random.randint(_MIN_ROWS, _MAX_ROWS)
        cells = [column.draw(count) for column in columns]
        rows = [list(row_) for row_ in zip(*cells, strict=True)]
        return Table(name, row, plural(row), tuple(columns), rows)

    def _row_word(self) -> str:
        split = self.parts.of("table")
        thing = self.random.choice(words("thing", split))
        if self.random.random() < 0.25:
            return f"{self.random.choice(words('adjective', split))} {thing}"
        return thing

    def _table_name(self, row: str) -> Identifier:
        def made() -> str:
            subject = plural(row) if self.random.random() < 0.6 else self._words(2, "table")
            if " " not in subject and self.random.random() < 0.7:
                subject = f"{self._words(1, 'table')} {subject}"
            return self._styled(self.random.choice(_lists()["tables"]), subject)

        return self._unused(made, lambda key: key not in self._used.tables)

    def _column(self, kind: str) -> Column:
        def made() -> str:
            subject = self._words(self.random.choice((1, 1, 2)), "columns")
            return self._styled(self.random.choice(_lists()["columns"][kind]), subject)

        name = self._unused(made, lambda key: self._used.columns[key] < _SAME_COLUMN)
        return Column(name, kind, self.random.choice(_lists()["types"][kind]), self._values(kind))

    def _words(self, count: int, part: Part) -> str:
        nouns = ("thing", "noun")
        kinds = [self.random.choice(nouns) for _ in range(count)]
        if count > 1 and self.random.random() < 0.5:
            kinds[0] = "adjective"
        return " ".join(self.random.choice(words(kind, self.parts.of(part))) for kind in kinds)

    def _styled(self, pattern: str, subject: str) -> str:
        year = str(self.random.randint(_FIRST_YEAR, _LAST_YEAR))
        text = pattern.replace("{year}", year).replace("%", subject.title(), 1)
        style = self._style if self.random.random() < 0.85 else self._other_style
        return style(text)

    def _unused(self, made: Callable[[], str], is_free: Callable[[str], bool]) -> Identifier:
        while True:
            name = made()
            if (key := _key(name)) not in self._taken and is_free(key):
                self._taken.add(key)
                return Identifier(name)

    def _values(self, kind: str) -> Callable[[int], list[Value]]:
        random, split, lists = self.random, self.parts.of("values"), _lists()
        if kind == "name":
            names = pool(random.choice(lists["names"]), split)
            return lambda count: list(random.sample(names, count))
        if kind == "pick":
            group = random.choice(lists["picks"])
            values = _groups(group, split, random)
            return lambda count: list(random.choices(values, k=count))
        if kind == "date":
            first, last = random.choice(lists["dates"])
            return lambda count: [_day(first, last, random) for _ in range(count)]
        if kind == "id":
            start = random.choice((1, 1, 10, 100, 1000))
            return lambda count: list(range(start, start + count))
        low, high = random.choice(lists["numbers" if kind == "int" else "money"])
        if kind == "money":
            cents = range(low * 100, high * 100)
            return lambda count: [n / 100 for n in random.sample(cents, count)]
        return lambda count: list(random.sample(range(low, high + 1), count))


def _groups(kind: str, split: Split, random: Random) -> Sequence[str]:
    count = random.randint(_MIN_GROUPS, _MAX_GROUPS)
    if kind in ("noun", "adjective"):
        style = random.choice((str, str.title, str.upper))
        return [style(word) for word in random.sample(words(kind, split), count)]
    return random.sample(pool(kind, split), count)


def _day(first: int, last: int, random: Random) -> str:
    begin = date(first, 1, 1)
    return str(begin + timedelta(random.randint(0, (date(last, 12, 31) - begin).days)))


def _parts(text: str) -> list[str]:
    return re.findall(r"[A-Za-z0-9]+", text)


def _snake(text: str) -> str:
    return "_".join(_parts(text)).lower()


def _camel(text: str) -> str:
    return "".join(_parts(text))


def _lower(text: str) -> str:
    return text.lower()


def _same(text: str) -> str:
    return text


def _upper_snake(text: str) -> str:
    return "_".join(_parts(text)).upper()


def _kebab(text: str) -> str:
    return "-".join(_parts(text)).lower()


_STYLES: tuple[Callable[[str], str], ...] = (
    *(_same,) * 5,
    *(_snake,) * 6,
    _lower,
    _lower,
    _camel,
    _camel,
    _upper_snake,
    _kebab,
)


def _key(name: str) -> str:
    """Names that MySQL or a reader would confuse have the same key."""
    return _snake(name)


@cache
def _lists() -> dict[str, Any]:
    return read_yaml("agentlm.environments.db", "tables.yaml")
