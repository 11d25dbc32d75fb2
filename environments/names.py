"""Names that fill generated tasks: combinations, each of which belongs to one split."""

from __future__ import annotations

from functools import cache
from itertools import product

from agentlm.environments.data_files import read_yaml
from agentlm.environments.splits import in_split
from agentlm.environments.task import Split

_MODELS = [f"{letter}{number}" for letter in "BDKMTXZ" for number in range(10, 100, 7)]


@cache
def pool(kind: str, split: Split) -> tuple[str, ...]:
    """All names of a kind in a split: person, place, title, vessel, product, company,
    slug (a file's name), word."""
    begin, end, joint = _parts()[kind]
    return tuple(in_split((f"{a}{joint}{b}" for a, b in product(begin, end)), split))


@cache
def _parts() -> dict[str, tuple[list[str], list[str], str]]:
    words: dict[str, list[str]] = read_yaml("agentlm.environments", "names.yaml")
    return {
        "person": (words["first"], words["last"], " "),
        "place": (words["place_begin"], words["place_end"], ""),
        "title": ([f"The {word}" for word in words["adjective"]], words["noun"], " "),
        "vessel": (words["adjective"], words["noun"], " "),
        "product": (words["part"], _MODELS, " "),
        "company": (words["last"], words["trade"], " "),
        "slug": (_lower(words["adjective"]), _lower(words["noun"]), "_"),
        "word": (_lower(words["place_begin"]), words["place_end"], ""),
    }


def _lower(words: list[str]) -> list[str]:
    return [word.lower() for word in words]
