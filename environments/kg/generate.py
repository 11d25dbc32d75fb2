"""Tasks from templates: entities of the graph, a phrasing, the expert's calls."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count
from random import Random

from pyoxigraph import NamedNode

from agentlm.environments.data_files import read_yaml
from agentlm.environments.kg.explore import Explorer, in_split
from agentlm.environments.splits import task_random
from agentlm.environments.task import Action, Move, Split, Task
from agentlm.messages import Frozen
from agentlm.tools.graph.graph import GraphError, Term
from agentlm.tools.graph.names import PREFIXES, expand, shorten

_ATTEMPTS = 200
_MAX_ANSWERS = 60
_CALL = re.compile(r"(\w+)\((.*)\)")

_ENTITIES: dict[Split, str] = {
    "train": "{question}\nEntities: {listed}",
    "dev": "{question} [{listed}]",
    "test": "{listed}\n{question}",
}
"""How a question and the identifiers in it are put together. No full stop may follow one: those of
words hold full stops themselves."""


class Stage(Frozen):
    """One call of the expert and its reason."""

    think: str
    call: str
    seek: str | None = None


class Skill(Frozen):
    """One kind of question; skills.yaml explains the fields."""

    family: str
    start: dict[str, str]
    walk: dict[str, tuple[str, ...]] = {}
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]
    steps: tuple[Stage, ...]

    def phrasings(self, split: Split) -> tuple[str, ...]:
        """Its wordings in one split."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[split]


class _Unsuitable(Exception):
    """This draw makes no good question."""


@cache
def skills() -> dict[str, Skill]:
    """All skills by name."""
    loaded = read_yaml("agentlm.environments.kg", "skills.yaml")
    return {name: Skill.model_validate(fields) for name, fields in loaded.items()}


def lacking(explorer: Explorer) -> list[str]:
    """The relations that questions begin with and that the graph has no edge of."""
    wanted = {relation for skill in skills().values() for relation in skill.start.values()}
    return [relation for relation in sorted(wanted) if not explorer.has(_iri(relation))]


def tasks(explorer: Explorer, split: Split, seed: int = 0) -> Iterator[Task]:
    """An endless stream of distinct tasks; every skill comes once before any comes again."""
    names = sorted(skills())
    Random(f"kg/{split}/{seed}").shuffle(names)
    seen: set[str] = set()
    for index in count():
        random = task_random("kg", split, seed, index)
        for _ in range(_ATTEMPTS):
            try:
                task = _make(explorer, names[index % len(names)], split, random)
            except _Unsuitable:
                continue
            if task.id not in seen:
                seen.add(task.id)
                yield task
                break


def _make(explorer: Explorer, name: str, split: Split, random: Random) -> Task:
    skill = skills()[name]
    number = random.randrange(len(skill.phrasings(split)))
    entities = _bind(explorer, skill, split, random)
    words = {slot: _words(explorer, node) for slot, node in entities.items()}
    identifiers = {slot: shorten(node.value) for slot, node in entities.items()}
    moves, answer = _expert(explorer, skill, words, identifiers)
    question = skill.phrasings(split)[number].format_map(words)
    listed = ", ".join(f"{words[slot]} = {identifiers[slot]}" for slot in entities)
    return Task(
        environment="kg",
        template=f"{name}/{split}/{number}",
        family=skill.family,
        split=split,
        instruction=_ENTITIES[split].format(question=question, listed=listed),
        parameters={"answer": answer},
        gold=tuple(moves),
    )


def _bind(explorer: Explorer, skill: Skill, split: Split, random: Random) -> dict[str, NamedNode]:
    bound = {
        slot: _drawn(explorer.subjects(_iri(relation), split), random)
        for slot, relation in skill.start.items()
    }
    for slot, (origin, *path) in skill.walk.items():
        reached: frozenset[Term] = frozenset([bound[origin]])
        try:
            for relation in path:
                reached = explorer.graph.neighbors(reached, relation)
        except GraphError as error:
            raise _Unsuitable from error
        others = [node for node in reached if isinstance(node, NamedNode)]
        others = sorted(set(others) - set(bound.values()), key=lambda node: node.value)
        bound[slot] = _drawn(in_split(others, split), random)
    return bound


def _expert(
    explorer: Explorer, skill: Skill, words: dict[str, str], identifiers: dict[str, str]
) -> tuple[list[Move], list[str]]:
    """The moves, with looks at relations before them, and the values of the last variable."""
    moves: list[Move] = []
    trail = explorer.trail()
    for stage in skill.steps:
        action = _action(stage.call.format_map(identifiers), explorer)
        if stage.seek is not None:
            moves.append(_look(stage.seek, action, identifiers, words))
        moves.append(Move(thought=stage.think.format_map(words), action=action))
        if trail.call(action).failed:
            raise _Unsuitable
    last = f"#{trail.variables - 1}"
    values = sorted(trail.values(last))
    if not values or len(values) > _MAX_ANSWERS or values == ["0"]:
        raise _Unsuitable
    asked = " and ".join(words.values())
    moves.append(Move(thought=f"{last} holds what was asked about {asked}.", answer=last))
    return moves, values


def _look(sought: str, action: Action, identifiers: dict[str, str], words: dict[str, str]) -> Move:
    variable = str(action.arguments["variable"])
    named = {identifier: words[slot] for slot, identifier in identifiers.items()}
    function, things = (
        ("get_attributes", "attributes")
        if action.name in ("argmax", "argmin")
        else ("get_relations", "relations")
    )
    return Move(
        thought=f"To find {sought} I look at the {things} of {named.get(variable, variable)}.",
        action=Action(name=function, arguments={"variable": variable}),
    )


def _action(call: str, explorer: Explorer) -> Action:
    found = _CALL.fullmatch(call)
    assert found is not None, call
    names = explorer.arguments[found[1]]
    values = [value.strip() for value in found[2].rsplit(", ", len(names) - 1)]
    return Action(name=found[1], arguments=dict(zip(names, values, strict=True)))


def _words(explorer: Explorer, node: NamedNode) -> str:
    """How a person names it; concepts of WordNet with their part of speech."""
    label = explorer.graph.label(node)
    if not node.value.startswith(PREFIXES["wn"]):
        return label
    return f"'{label}' ({explorer.graph.kind(node)})"


def _drawn(nodes: Sequence[NamedNode], random: Random) -> NamedNode:
    if not nodes:
        raise _Unsuitable
    return random.choice(nodes)


def _iri(name: str) -> str:
    iri = expand(name)
    assert iri is not None, name
    return iri
