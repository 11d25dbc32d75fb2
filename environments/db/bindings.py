"""Generated tables, and what the slots of a template stand for in one of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from agentlm.environments.db.templates import Identifier, TableKind, Value
from agentlm.environments.names import pool
from agentlm.environments.task import Split

_TYPES = {"int": "INTEGER", "money": "REAL"}
_MIN_ROWS, _MAX_ROWS = 8, 24


@dataclass(frozen=True)
class Table:
    """A kind of table with rows."""

    kind: TableKind
    rows: list[list[Value]]

    @property
    def columns(self) -> list[tuple[str, str]]:
        """(name, SQL type)."""
        return [(n, _TYPES.get(k.split(":")[0], "TEXT")) for n, k in self.kind.columns.items()]

    def values(self, column: str) -> list[Value]:
        """One column, in row order."""
        index = list(self.kind.columns).index(column)
        return [row[index] for row in self.rows]

    def of_kind(self, *kinds: str) -> list[Identifier]:
        """The columns whose kind begins with one of these words."""
        return [Identifier(n) for n, k in self.kind.columns.items() if k.split(":")[0] in kinds]


def make_table(kind: TableKind, split: Split, rng: Random) -> Table:
    """Rows for a table. Names are unique, and so are the numbers of a column."""
    count = rng.randint(_MIN_ROWS, _MAX_ROWS)
    columns = [_column(spec, count, split, rng) for spec in kind.columns.values()]
    return Table(kind, [list(cells) for cells in zip(*columns, strict=True)])


def bind(table: Table, split: Split, rng: Random) -> dict[str, Value]:
    """Values for every slot that a template may use."""
    [key], [day] = table.of_kind("name"), table.of_kind("date")
    cat, cat2 = rng.sample(table.of_kind("pick", "of"), 2)
    num, num2 = rng.sample(table.of_kind("int", "money"), 2)
    slots: dict[str, Value] = {
        "table": Identifier(table.kind.table),
        "row": table.kind.row,
        "rows": table.kind.rows,
        "n": rng.randint(2, 4),
    }
    slots |= {"key": key, "cat": cat, "cat2": cat2, "num": num, "num2": num2, "date": day}
    slots |= _existing(table, slots, rng)
    return slots | _new(table, slots, split, rng)


def _existing(table: Table, slots: dict[str, Value], rng: Random) -> dict[str, Value]:
    keys, cats, cats2, nums, days = (
        table.values(str(slots[name])) for name in ("key", "cat", "cat2", "num", "date")
    )
    first, second = rng.sample(range(len(keys)), 2)
    others = [index for index, value in enumerate(cats) if value != cats[first]]
    ranked = sorted(nums, key=float)
    below, above = len(ranked) // 3, 2 * len(ranked) // 3
    within = sorted((n for n, c in zip(nums, cats, strict=True) if c == cats[first]), key=float)
    big, small = sorted((first, second), key=lambda index: -float(nums[index]))
    letter = str(keys[first])[: 5 if str(keys[first]).startswith("The ") else 1]
    year = str(days[first])[:4]
    bound: dict[str, Value] = {
        "k1": keys[first],
        "k2": keys[second],
        "v": cats[first],
        "w": cats2[first],
        "lo": ranked[rng.randint(1, below)],
        "hi": ranked[rng.randint(above, len(ranked) - 2)],
        "low_v": within[rng.randrange(max(1, len(within) - 1))],
        "big": keys[big],
        "small": keys[small],
        "y": year,
        "y_start": f"{year}-01-01",
        "letter": letter,
        "letter_like": f"{letter}%",
    }
    if others:
        other = rng.choice(others)
        bound |= {"v2": cats[other], "other_v": cats[other], "other_k": keys[other]}
    return bound


def _new(table: Table, slots: dict[str, Value], split: Split, rng: Random) -> dict[str, Value]:
    """Values that are not in the table yet."""
    specs = table.kind.columns
    names = _fresh_names(specs[str(slots["key"])].split(":")[1], table, split, rng)
    [fresh] = rng.sample(pool("place", split), 1)
    num, num2, day = (specs[str(slots[name])] for name in ("num", "num2", "date"))
    return {
        "new1": names[0],
        "new2": names[1],
        "fresh": fresh,
        "x1": _column(num, 1, split, rng)[0],
        "x3": _column(num, 1, split, rng)[0],
        "x2": _column(num2, 1, split, rng)[0],
        "d1": _column(day, 1, split, rng)[0],
    }


def _fresh_names(kind: str, table: Table, split: Split, rng: Random) -> list[str]:
    taken = {cell for row in table.rows for cell in row}
    drawn = rng.sample(pool(kind, split), len(table.rows) + 2)
    return [name for name in drawn if name not in taken][:2]


def _column(spec: str, count: int, split: Split, rng: Random) -> list[Value]:
    kind, _, rest = spec.partition(":")
    if kind == "name":
        return list(rng.sample(pool(rest, split), count))
    if kind in ("pick", "of"):
        return list(rng.choices(_categories(kind, rest, split, rng), k=count))
    low, high = (int(bound) for bound in rest.split(":"))
    if kind == "int":
        return list(rng.sample(range(low, high + 1), count))
    if kind == "money":
        return [cents / 100 for cents in rng.sample(range(low * 100, high * 100), count)]
    begin = date(low, 1, 1)
    days = (date(high, 12, 31) - begin).days
    return [str(begin + timedelta(rng.randint(0, days))) for _ in range(count)]


def _categories(kind: str, rest: str, split: Split, rng: Random) -> list[str]:
    if kind == "of":
        return rest.split("|")
    name, _, count = rest.partition(":")
    return rng.sample(pool(name, split), int(count))
