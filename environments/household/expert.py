"""The expert that solves an errand: it knows what belongs where, and has to look for each thing.

How long it looks is random: it goes to up to four places that might have the thing before it comes
to one that does. It opens what is closed, and takes what it needs as soon as it sees it.
"""

from __future__ import annotations

from random import Random

from agentlm.environments.household.goals import Goal
from agentlm.environments.household.simulator import NOTHING, Household
from agentlm.environments.household.tables import DEVICES, KNIVES, MADE, kind, tables
from agentlm.environments.task import Action, Move

_LOOKS_AT_MOST = 4
_MOVES_AT_MOST = 34
_LOOKING = (
    "I need a {thing}. I look for one at {place}.",
    "A {thing} may be at {place}; I go there.",
    "I have no {thing} yet. Next I try {place}.",
    "Where could a {thing} be? Perhaps at {place}.",
)


class LostError(Exception):
    """This errand can't be done, or takes too long."""


def moves_of(home: Household, goal: Goal, random: Random) -> list[Move]:
    """The moves from here until the goal is met. Raises LostError."""
    errand = _Errand(home, goal, random)
    errand.run()
    if not goal.is_met(home) or len(errand.moves) > _MOVES_AT_MOST:
        raise LostError
    return errand.moves


class _Errand:
    """One expert on its way."""

    def __init__(self, home: Household, goal: Goal, random: Random) -> None:
        self.moves: list[Move] = []
        self._home = home
        self._goal = goal
        self._random = random
        self._been: set[str] = set()
        self._target: str | None = None
        """Where things are brought, the same place for each."""

    def run(self) -> None:
        if self._goal.sliced:
            self._slice()
        for number in range(2 if self._goal.kind == "two" else 1):
            self._fetch(number)

    def _fetch(self, number: int) -> None:
        thing, task = self._goal.thing, self._goal.kind
        if not self._goal.sliced:
            self._find(thing)
        self._take(thing, "the second one" if number else "what I need")
        if task == "light":
            self._find(self._goal.place)
            lamp = self._seen(self._goal.place)
            self._do(f"use {lamp}", f"With the {self._held} in hand I turn on the {lamp}.")
            return
        if task in DEVICES:
            device = self._one_of(DEVICES[task])
            self._go(device, f"To {task} the {self._held} I need the {device}.")
            command = f"{task} {self._held} with {device}"
            self._do(command, f"I am at the {device}: now I {task} the {self._held}.")
        self._bring()

    def _bring(self) -> None:
        state = MADE.get(self._goal.kind)
        held = f"{state} {self._held}" if state else self._held
        self._target = target = self._target or self._one_of(self._goal.place)
        self._go(target, f"I have the {held} and bring it to {target}.")
        self._open(target)
        self._do(f"put {self._held} in/on {target}", f"The {held} goes in or on {target}.")

    def _slice(self) -> None:
        """Take a knife to the thing, slice it, and put the knife away to have a free hand."""
        knife_kind = self._random.choice(sorted(KNIVES & self._kinds_about()) or [""])
        self._find(knife_kind)
        self._take(knife_kind, "to slice with")
        self._find(self._goal.thing)
        thing, at, knife = self._seen(self._goal.thing), self._home.here, self._held
        self._do(f"slice {thing} with {knife}", f"I slice the {thing} with the {knife}.")
        if at is None or not tables().fits(kind(knife), kind(at)):
            rest = self._one_of(self._random.choice(["countertop", "diningtable"]))
            self._go(rest, f"I leave the {knife} at {rest}, since I carry one thing at a time.")
            self._do(f"put {knife} in/on {rest}", f"I put the {knife} down.")
            self._go(str(at), f"Back to {at} for the sliced {thing}.")
        else:
            self._do(f"put {knife} in/on {at}", f"I put the {knife} down to have a free hand.")

    def _find(self, thing: str) -> None:
        """Go to a place where one is in sight, by way of places that have none."""
        if any(kind(each) == thing for each in self._in_sight()):
            return
        with_it = [p for p, there in self._home.places.items() if self._has(there, thing)]
        likely = [p for p in self._home.places if self._may_have(p, thing)]
        without = [p for p in likely if p not in with_it and p not in self._been]
        if not with_it:
            raise LostError
        looks = self._random.randint(0, min(_LOOKS_AT_MOST, len(without)))
        for place in [*self._random.sample(without, looks), self._random.choice(with_it)]:
            words = self._random.choice(_LOOKING).format(thing=thing, place=place)
            self._go(place, words)
            self._open(place)

    def _may_have(self, place: str, thing: str) -> bool:
        is_lamp = tables().can("use", thing)
        return (
            kind(place) in ("desk", "sidetable", "dresser")
            if is_lamp
            else (tables().fits(thing, kind(place)))
        )

    def _has(self, there: list[str], thing: str) -> bool:
        """What has been brought already stays where it is."""
        brought = self._home.places[self._target] if self._target else None
        return there is not brought and any(kind(each) == thing for each in there)

    def _take(self, thing: str, purpose: str) -> None:
        name, at = self._seen(thing), self._home.here
        self._do(f"take {name} from {at}", f"There is {name}, {purpose}. I take it from {at}.")

    def _go(self, place: str, thought: str) -> None:
        if place != self._home.here:
            self._do(f"go to {place}", thought)
        self._been.add(place)

    def _open(self, place: str) -> None:
        if self._home.act(f"examine {place}").endswith("is closed."):
            self._do(f"open {place}", f"The {place} is closed, so I open it.")

    def _do(self, command: str, thought: str) -> None:
        if self._home.act(command) == NOTHING:
            raise LostError
        self.moves.append(
            Move(thought=thought, action=Action(name="act", arguments={"command": command}))
        )

    def _seen(self, thing: str) -> str:
        wanted = [each for each in self._in_sight() if kind(each) == thing]
        sliced = [each for each in wanted if self._home.is_(each, "sliced")]
        if not wanted:
            raise LostError
        return (sliced or wanted)[0]

    def _in_sight(self) -> list[str]:
        at = self._home.here
        if at is None or at == self._target or "is closed" in self._home.act(f"examine {at}"):
            return []
        return self._home.places[at]

    def _one_of(self, wanted: str) -> str:
        places = [place for place in self._home.places if kind(place) == wanted]
        if not places:
            raise LostError
        return self._random.choice(places)

    def _kinds_about(self) -> set[str]:
        return {kind(each) for there in self._home.places.values() for each in there}

    @property
    def _held(self) -> str:
        return str(self._home.carried)
