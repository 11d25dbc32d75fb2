"""What the slots of a template stand for in the tables that were drawn for it."""

from __future__ import annotations

from collections.abc import Callable, Set
from random import Random

from agentlm.environments.db.schema import Column, Drawing, Table
from agentlm.environments.db.templates import Identifier, Value, Word
from agentlm.environments.names import pool

_WANTS: dict[str, Set[str]] = {
    "cat": {"cat", "v", "v2", "other_v", "other_k"},
    "cat2": {"cat2", "w"},
    "num": {"num", "lo", "hi", "x1", "x3", "low_v", "big", "small"},
    "num2": {"num2", "x2"},
    "date": {"date", "y", "y_start", "y_end", "d1"},
}
"""Slot of a column → the slots that need it."""


def draw_tables(drawing: Drawing, slots: Set[str], exact: bool) -> tuple[Table, ...]:
    """The tables that these slots need: one, or a table and the one that its rows belong to."""
    kinds = ["name"]
    for slot, needed_by in _WANTS.items():
        if slots & needed_by and not (slot == "cat2" and "table2" in slots):
            kinds.append(_kind(slot, drawing.random))
    if "table2" not in slots:
        return (drawing.table(kinds, exact),)
    parent = drawing.table(["name", "id", "pick"], exact)
    child = drawing.table([*kinds, "id"], exact)
    return _linked(child, parent, drawing), parent


def bind(tables: tuple[Table, ...], slots: Set[str], drawing: Drawing) -> dict[str, Value]:
    """Values for the slots; those that these tables can't fill are left out."""
    table, *others = tables
    bound = _columns(table, slots)
    bound |= {"table": table.name, "row": Word(table.row), "rows": Word(table.rows_word)}
    bound["n"] = drawing.random.randint(2, 4)
    bound |= _existing(table, bound, drawing.random) | _new(table, bound, drawing)
    return bound | _parent(table, others[0], drawing.random) if others else bound


def _kind(slot: str, random: Random) -> str:
    if slot == "date":
        return "date"
    return "pick" if slot.startswith("cat") else random.choice(("int", "money"))


def _linked(child: Table, parent: Table, drawing: Drawing) -> Table:
    """The child table with its `id` column holding ids of the parent."""
    [mine], [theirs] = child.of_kind("id"), parent.of_kind("id")
    ids = parent.values(theirs)
    names = {column.name.lower() for column in child.columns}
    shared = drawing.random.random() < 0.5 and theirs.lower() not in names
    place = [column.kind for column in child.columns].index("id")
    rows = [[*row[:place], drawing.random.choice(ids), *row[place + 1 :]] for row in child.rows]
    columns = tuple(
        Column(theirs if shared else mine, "id", column.type, column.draw)
        if column.kind == "id"
        else column
        for column in child.columns
    )
    return Table(child.name, child.row, child.rows_word, columns, rows)


def _columns(table: Table, slots: Set[str]) -> dict[str, Value]:
    [key] = table.of_kind("name")
    bound: dict[str, Value] = {"key": key}
    left = {
        "cat": table.of_kind("pick"),
        "num": table.of_kind("int", "money"),
        "date": table.of_kind("date"),
    }
    for slot in _WANTS:
        columns = left[slot.rstrip("2")]
        if slots & _WANTS[slot] and columns:
            bound[slot] = columns.pop(0)
    return bound


def _existing(table: Table, bound: dict[str, Value], random: Random) -> dict[str, Value]:
    keys = table.values(str(bound["key"]))
    first, second = random.sample(range(len(keys)), 2)
    letter = str(keys[first])[: 5 if str(keys[first]).startswith("The ") else 1]
    slots: dict[str, Value] = {"k1": keys[first], "k2": keys[second]}
    slots |= {"letter": Word(letter), "letter_like": f"{letter}%"}
    if "cat" in bound:
        slots |= _groups(table, bound, first, random)
    if "cat2" in bound:
        slots["w"] = table.values(str(bound["cat2"]))[first]
    if "num" in bound:
        slots |= _numbers(table, bound, first, second, random)
    if "date" in bound:
        year = int(str(table.values(str(bound["date"]))[first])[:4])
        slots |= {"y": year, "y_start": f"{year}-01-01", "y_end": f"{year}-12-31"}
    return slots


def _groups(table: Table, bound: dict[str, Value], first: int, random: Random) -> dict[str, Value]:
    groups, keys = table.values(str(bound["cat"])), table.values(str(bound["key"]))
    slots = {"v": groups[first]}
    others = [index for index, group in enumerate(groups) if group != groups[first]]
    if others:
        other = random.choice(others)
        slots |= {"v2": groups[other], "other_v": groups[other], "other_k": keys[other]}
    return slots


def _numbers(
    table: Table, bound: dict[str, Value], first: int, second: int, random: Random
) -> dict[str, Value]:
    numbers, keys = table.values(str(bound["num"])), table.values(str(bound["key"]))
    ranked = sorted(numbers, key=float)
    below, above = len(ranked) // 3, 2 * len(ranked) // 3
    big, small = sorted((first, second), key=lambda index: -float(numbers[index]))
    slots: dict[str, Value] = {
        "lo": ranked[random.randint(1, below)],
        "hi": ranked[random.randint(above, len(ranked) - 2)],
        "big": keys[big],
        "small": keys[small],
    }
    if "cat" in bound:
        groups = table.values(str(bound["cat"]))
        mine = [n for n, g in zip(numbers, groups, strict=True) if g == groups[first]]
        mine.sort(key=float)
        slots["low_v"] = mine[random.randrange(max(1, len(mine) - 1))]
    return slots


def _new(table: Table, bound: dict[str, Value], drawing: Drawing) -> dict[str, Value]:
    """Values that are not in the table yet."""
    drawers: dict[str, Callable[[int], list[Value]]] = {
        column.name: column.draw for column in table.columns
    }
    taken = {cell for row in table.rows for cell in row}
    names = [name for name in drawers[str(bound["key"])](len(table.rows) + 2) if name not in taken]
    places = pool("place", drawing.parts.of("values"))
    slots: dict[str, Value] = {"fresh": drawing.random.choice(places)}
    slots |= dict(zip(("new1", "new2"), names, strict=False))
    for slot, column in (("x1", "num"), ("x3", "num"), ("x2", "num2"), ("d1", "date")):
        if column in bound:
            [slots[slot]] = drawers[str(bound[column])](1)
    return slots


def _parent(table: Table, parent: Table, random: Random) -> dict[str, Value]:
    [key], [own], [link] = parent.of_kind("name"), parent.of_kind("id"), table.of_kind("id")
    names = dict(zip(parent.values(own), parent.values(key), strict=True))
    used = [names[number] for number in dict.fromkeys(table.values(link))]
    first, second = random.sample(used, 2)
    return {
        "table2": parent.name,
        "row2": Word(parent.row),
        "key2": key,
        "id": Identifier(own),
        "fk": Identifier(link),
        "cat2": parent.of_kind("pick")[0],
        "p1": first,
        "p2": second,
    }
