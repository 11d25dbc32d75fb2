"""Names that fill generated tasks: put together from words, each of which belongs to one split.

So a name of one split has a word in it that no other split has.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from math import prod
from string import ascii_uppercase
from typing import overload

from agentlm.environments.data_files import read_yaml
from agentlm.environments.splits import in_split
from agentlm.environments.task import Split

_PACKAGE = "agentlm.environments"
_SIBILANTS = ("s", "x", "z", "ch", "sh")
_SHORT = 6
"""Letters of a word that a place may be called after."""


class Names(Sequence[str]):
    """All combinations of some parts, made when asked for: there are millions."""

    def __init__(self, pattern: str, *parts: Sequence[str]) -> None:
        self._pattern = pattern
        self._parts = parts

    def __len__(self) -> int:
        return prod(map(len, self._parts))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        chosen = []
        for part in reversed(self._parts):
            index, place = divmod(index, len(part))
            chosen.append(part[place])
        return self._pattern.format(*reversed(chosen))


@cache
def words(kind: str, split: Split) -> tuple[str, ...]:
    """A split's share of the list `thing`, `noun` or `adjective`."""
    listed: dict[str, list[str]] = _words()
    return tuple(in_split(listed[kind], split))


@cache
def pool(kind: str, split: Split) -> Names:
    """All names of a kind in a split: person, place, title, vessel, product, company, code."""
    parts: dict[str, list[str]] = read_yaml(_PACKAGE, "names.yaml")
    nouns = [*words("thing", split), *words("noun", split)]
    capital = [noun.capitalize() for noun in nouns]
    adjectives = [word.capitalize() for word in words("adjective", split)]
    short = [noun for noun in capital if len(noun) <= _SHORT]
    last = in_split(parts["last"], split)
    match kind:
        case "person":
            return Names("{} {}", parts["first"], last)
        case "place":
            return Names("{}{}", short, parts["place_end"])
        case "title":
            return Names("The {} {}", adjectives, capital)
        case "vessel":
            return Names("{} {}", adjectives, capital)
        case "product":
            return Names("{} {}{}", capital, ascii_uppercase, [str(n) for n in range(2, 100, 7)])
        case "company":
            return Names("{} {}", [*capital, *last], parts["trade"])
        case "code":
            letters = in_split(map("".join, product(ascii_uppercase, repeat=2)), split)
            return Names("{}-{}", letters, [str(n) for n in range(101, 9999, 7)])
    raise KeyError(kind)


def plural(noun: str) -> str:
    """Of a regular noun."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(_SIBILANTS) else f"{noun}s"


@cache
def _words() -> dict[str, list[str]]:
    return read_yaml(_PACKAGE, "words.yaml")
