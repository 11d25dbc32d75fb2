"""Errands in rooms: a plan, what stands where, a goal, and an expert who has to look for things.

Floor plans belong to splits, a share of each sort of room, and so does every goal: what is done
with which thing and where it goes. The kinds about slices, which need a knife, are held out. The
wording is ALFWorld's own, in every split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import count
from random import Random
from typing import NamedTuple

from agentlm.environments.household.expert import LostError, moves_of
from agentlm.environments.household.goals import Goal, GoalKind
from agentlm.environments.household.simulator import Household
from agentlm.environments.household.tables import DEVICES, KNIVES, Plan, tables
from agentlm.environments.splits import deal, task_random
from agentlm.environments.task import Split, Task

_ATTEMPTS = 200
_COPIES = 3
_IN_ONE_PLACE = 5
_LAMP_STANDS = ("sidetable", "desk", "dresser", "shelf", "coffeetable", "diningtable", "tvstand")
_FAMILIES: dict[GoalKind, str] = {
    "place": "pick and place",
    "light": "examine in light",
    "clean": "clean and place",
    "heat": "heat and place",
    "cool": "cool and place",
    "two": "pick two and place",
}
_WORDS: dict[GoalKind, tuple[str, str]] = {
    "place": ("put a {thing} in {place}", "put some {thing} on {place}"),
    "light": ("look at {thing} under the {place}", "examine the {thing} with the {place}"),
    "clean": ("put a clean {thing} in {place}", "clean some {thing} and put it in {place}"),
    "heat": ("put a hot {thing} in {place}", "heat some {thing} and put it in {place}"),
    "cool": ("put a cool {thing} in {place}", "cool some {thing} and put it in {place}"),
    "two": ("put two {thing} in {place}", "find two {thing} and put them in {place}"),
}
_OF_A_SLICE: dict[GoalKind, tuple[str, str]] = {
    "clean": (
        "put a clean slice of {thing} in {place}",
        "clean some sliced {thing} and put it in {place}",
    ),
    "heat": (
        "put a hot slice of {thing} in {place}",
        "heat some sliced {thing} and put it in {place}",
    ),
    "cool": (
        "put a cool slice of {thing} in {place}",
        "cool some sliced {thing} and put it in {place}",
    ),
}


class _Scene(NamedTuple):
    plan: str
    goal: Goal


def tasks(split: Split, seed: int = 0) -> Iterator[Task]:
    """An endless stream of distinct tasks; every kind comes once before any comes again."""
    kinds = list(_OF_A_SLICE if split == "test-kinds" else _WORDS)
    Random(f"household/{split}/{seed}").shuffle(kinds)
    seen: set[str] = set()
    for index in count():
        random = task_random("household", split, seed, index)
        scenes = scenes_of(kinds[index % len(kinds)], split)
        for _ in range(_ATTEMPTS):
            try:
                task = _make(random.choice(scenes), split, random)
            except LostError:
                continue
            if task.id not in seen:
                seen.add(task.id)
                yield task
                break


@cache
def scenes_of(kind: GoalKind, split: Split) -> tuple[_Scene, ...]:
    """Every plan of a split with every goal of a kind that can be met in it."""
    sliced = split == "test-kinds"
    possible = {name: tuple(_goals(plan, kind, sliced)) for name, plan in tables().plans.items()}
    dealt = deal({_key(goal) for goals in possible.values() for goal in goals})
    return tuple(
        _Scene(name, goal)
        for name in tables().plans
        if plan_splits()[name] == split
        for goal in possible[name]
        if sliced or dealt[_key(goal)] == split
    )


@cache
def plan_splits() -> dict[str, Split]:
    """Floor plan → its split."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for name, plan in tables().plans.items():
        rooms[plan.room].append(name)
    return {name: split for names in rooms.values() for name, split in deal(names).items()}


def _key(goal: Goal) -> str:
    return f"{goal.kind}/{goal.thing}/{goal.place}"


def _goals(plan: Plan, kind: GoalKind, sliced: bool) -> Iterator[Goal]:
    if sliced and not KNIVES & set(plan.things):
        return
    if kind in DEVICES and DEVICES[kind] not in plan.receptacles:
        return
    for thing in plan.things:
        if _suits(thing, kind, sliced):
            for place in _destinations(plan, thing, kind):
                yield Goal(kind=kind, thing=thing, place=place, sliced=sliced)


def _suits(thing: str, kind: GoalKind, sliced: bool) -> bool:
    is_lamp = tables().can("use", thing)
    allowed = kind not in DEVICES or tables().can(kind, thing)
    return not is_lamp and allowed and (not sliced or tables().can("slice", thing))


def _destinations(plan: Plan, thing: str, kind: GoalKind) -> list[str]:
    if kind == "light":
        return [lamp for lamp in plan.things if tables().can("use", lamp)]
    device = DEVICES.get(kind)
    return [each for each in plan.receptacles if tables().fits(thing, each) and each != device]


def _make(scene: _Scene, split: Split, random: Random) -> Task:
    goal = scene.goal
    places = _furnished(tables().plans[scene.plan], goal, random)
    home = Household({name: list(there) for name, there in places.items()})
    words = random.choice((_OF_A_SLICE if goal.sliced else _WORDS)[goal.kind])
    asked = words.format(thing=goal.thing, place=goal.place)
    return Task(
        environment="household",
        template=f"{goal.kind}{'-slice' * goal.sliced}/{split}",
        family=f"{_FAMILIES[goal.kind]}{', a slice' * goal.sliced}",
        split=split,
        instruction=f"{home.look_around()}\n\nYour task is to: {asked}.",
        parameters={"scene": scene.plan, "places": places, "goal": goal.model_dump()},
        gold=tuple(moves_of(home, goal, random)),
    )


def _furnished(plan: Plan, goal: Goal, random: Random) -> dict[str, list[str]]:
    """Receptacles, and things in or on them: what is to be moved is not where it goes."""
    places: dict[str, list[str]] = {
        f"{kind} {number}": []
        for kind, amount in plan.receptacles.items()
        for number in range(1, amount + 1)
    }
    least = {goal.thing: 2 if goal.kind == "two" else 1}
    for thing in sorted(plan.things, key=lambda thing: thing not in least):
        copies = 1 if tables().can("use", thing) else random.randint(least.get(thing, 1), _COPIES)
        for number in range(1, copies + 1):
            if free := [each for each in places if _takes(places, each, thing, goal)]:
                places[random.choice(free)].append(f"{thing} {number}")
    return places


def _takes(places: dict[str, list[str]], place: str, thing: str, goal: Goal) -> bool:
    kind = place.rpartition(" ")[0]
    if len(places[place]) >= _IN_ONE_PLACE:
        return False
    if tables().can("use", thing):
        return kind in _LAMP_STANDS
    return tables().fits(thing, kind) and not (thing == goal.thing and kind == goal.place)
