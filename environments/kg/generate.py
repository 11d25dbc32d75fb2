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
from agentlm.environments.phrases import Alternatives, drawn, phrasebook
from agentlm.environments.splits import task_random
from agentlm.environments.task import Action, Move, Split, Task
from agentlm.messages import Frozen
from agentlm.tools.graph.graph import GraphError, Term
from agentlm.tools.graph.names import PREFIXES, expand, shorten

_ATTEMPTS = 200
_MAX_ANSWERS = 60
_EMPTY_COUNTS = (["0"], ["1"])
"""`count` of a single entity is always 1: a player who asked for that would be right too often."""
_CALL = re.compile(r"(\w+)\((.*)\)")

_PACKAGE = "agentlm.environments.kg"
_LOOKS = 0.7
"""Share of the looks at relations that the expert takes; it may know what there is."""
_MISTAKES = 0.06
"""Share of training tasks in which the expert gets a relation wrong first."""


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
    held_out: bool = False
    ask: Alternatives
    steps: tuple[Stage, ...]


class _Unsuitable(Exception):
    """This draw makes no good question."""


@cache
def skills() -> dict[str, Skill]:
    loaded = read_yaml(_PACKAGE, "skills.yaml")
    return {name: Skill.model_validate(fields) for name, fields in loaded.items()}


@cache
def phrasings(split: Split) -> dict[str, dict[str, float]]:
    """The wordings of each skill that a split has, each with its weight in training."""
    book = phrasebook(_PACKAGE)
    return {
        name: book.phrasings(skill.ask, split)
        for name, skill in skills().items()
        if skill.held_out == (split == "test-kinds")
    }


def lacking(explorer: Explorer) -> list[str]:
    """The relations that questions begin with and that the graph has no edge of."""
    wanted = {relation for skill in skills().values() for relation in skill.start.values()}
    return [relation for relation in sorted(wanted) if not explorer.has(_iri(relation))]


def tasks(explorer: Explorer, split: Split, seed: int = 0) -> Iterator[Task]:
    """An endless stream of distinct tasks; every skill comes once before any comes again."""
    names = sorted(phrasings(split))
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
    wordings = phrasings(split)[name]
    number = drawn(tuple(wordings.values()), split, random)
    entities = _bind(explorer, skill, split, random)
    words = {slot: _words(explorer, node) for slot, node in entities.items()}
    identifiers = {slot: shorten(node.value) for slot, node in entities.items()}
    question = tuple(wordings)[number].format_map(words)
    instruction = _stated(question, words, identifiers, split, random)
    moves, answer = _expert(explorer, skill, words, identifiers, random)
    if split == "train" and random.random() < _MISTAKES:
        moves = _mistaken(explorer, moves)
    return Task(
        environment="kg",
        template=f"{name}/{split}/{number}",
        family=skill.family,
        split=split,
        instruction=instruction,
        parameters={"answer": answer},
        gold=tuple(moves),
    )


def _stated(
    question: str, words: dict[str, str], identifiers: dict[str, str], split: Split, random: Random
) -> str:
    book = phrasebook(_PACKAGE)
    item, joint, form = (
        random.choice(book.alternatives(name, split))
        for name in ("item", "listed_joint", "entities")
    )
    items = [item.format(words=words[slot], identifier=identifiers[slot]) for slot in words]
    return form.format(question=question, listed=joint.join(items))


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
    explorer: Explorer,
    skill: Skill,
    words: dict[str, str],
    identifiers: dict[str, str],
    random: Random,
) -> tuple[list[Move], list[str]]:
    """The moves, with looks at relations before most, and the values of the last variable."""
    moves: list[Move] = []
    trail = explorer.trail()
    for stage in skill.steps:
        action = _action(stage.call.format_map(identifiers), explorer)
        if stage.seek is not None and random.random() < _LOOKS:
            moves.append(_look(stage.seek, action, identifiers, words))
        thought = f"{stage.think.format_map(words)} {_links(action)}"
        moves.append(Move(thought=thought, action=action))
        if trail.call(action).failed:
            raise _Unsuitable
    last = f"#{trail.variables - 1}"
    values = sorted(trail.values(last))
    if not values or len(values) > _MAX_ANSWERS or values in _EMPTY_COUNTS:
        raise _Unsuitable
    asked = " and ".join(words.values())
    moves.append(Move(thought=f"{last} holds what was asked about {asked}.", answer=last))
    return moves, values


def _links(action: Action) -> str:
    """What a call is made of, as it is written in it."""
    names = {"variable": "entity", "variable1": "variable", "variable2": "variable"}
    parts = [
        f"{'variable' if str(value).startswith('#') else names.get(name, name)} {value}"
        for name, value in action.arguments.items()
    ]
    sentence = ", ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _mistaken(explorer: Explorer, moves: list[Move]) -> list[Move]:
    """The first step to a neighbour with a relation that isn't quite the right one, which fails.

    The turn that fails is never trained on (`finetune/data/rows.py`), the next turn is.
    """
    for place, move in enumerate(moves):
        if move.action is not None and move.action.name == "get_neighbors":
            relation = str(move.action.arguments["relation"])
            wrong = f"{relation[:-1]}ies" if relation.endswith("y") else f"{relation}s"
            action = Action(
                name=move.action.name, arguments=move.action.arguments | {"relation": wrong}
            )
            if not explorer.trail().call(action).failed:
                return moves
            excuse = f"There is no relation {wrong}; it is called {relation}. {move.thought}"
            mended = move.model_copy(update={"thought": excuse})
            thought = move.thought.replace(relation, wrong)
            return [
                *moves[:place],
                Move(thought=thought, action=action),
                mended,
                *moves[place + 1 :],
            ]
    return moves


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
    match = _CALL.fullmatch(call)
    assert match is not None, call
    names = explorer.arguments[match[1]]
    values = [value.strip() for value in match[2].rsplit(", ", len(names) - 1)]
    return Action(name=match[1], arguments=dict(zip(names, values, strict=True)))


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
