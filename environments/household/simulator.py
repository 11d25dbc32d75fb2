"""A household that is acted on by words: ALFWorld's actions, rules and answers.

Things stand in or on receptacles, which are all in one room; a player goes to one at a time,
carries one thing, and sees what is in a receptacle once it is there and it is open. What can't be
done has ALFWorld's answer to everything: Nothing happens. A thing that was ever clean, hot, cool or
sliced stays so, except that heating and cooling undo each other; a lamp that was ever on counts as
on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agentlm.environments.household.tables import (
    DEVICES,
    KNIVES,
    MADE,
    OPENABLE,
    kind,
    tables,
)

NOTHING = "Nothing happens."
_NAME = r"([a-z]+ \d+)"


@dataclass
class Household:
    """One room, as it is now."""

    places: dict[str, list[str]]
    """Receptacle → what is in or on it, in the order in which it is listed."""
    open: set[str] = field(default_factory=set)
    states: dict[str, set[str]] = field(default_factory=dict)
    """Thing → clean, hot, cool, sliced, on."""
    here: str | None = None
    """The receptacle that the player is at."""
    carried: str | None = None

    def look_around(self) -> str:
        """What one sees at first."""
        seen = _listed(reversed(self.places))
        return f"You are in the middle of a room. Looking quickly around you, you see {seen}."

    def act(self, command: str) -> str:
        """Do what a command says; `NOTHING` if it can't be done or isn't one."""
        normalised = " ".join(command.lower().split())
        for pattern, action in _ACTIONS:
            if found := pattern.fullmatch(normalised):
                return action(self, *found.groups()) or NOTHING
        return NOTHING

    def is_(self, thing: str, state: str) -> bool:
        """Whether a thing is clean, hot, cool, sliced or on."""
        return state in self.states.get(thing, ())

    def _go(self, place: str) -> str | None:
        if place not in self.places:
            return None
        self.here = place
        return f"You arrive at {place}. {self._seen_in(place)}"

    def _open(self, place: str) -> str | None:
        if place != self.here or kind(place) not in OPENABLE or place in self.open:
            return None
        self.open.add(place)
        return f"You open the {place}. {self._seen_in(place)}"

    def _close(self, place: str) -> str | None:
        if place != self.here or place not in self.open:
            return None
        self.open.remove(place)
        return f"You close the {place}."

    def _take(self, thing: str, place: str) -> str | None:
        within = place == self.here and self._is_accessible(place)
        if not within or self.carried is not None or thing not in self.places[place]:
            return None
        if tables().can("use", kind(thing)):
            return None
        self.places[place].remove(thing)
        self.carried = thing
        return f"You pick up the {thing} from the {place}."

    def _put(self, thing: str, place: str) -> str | None:
        if thing != self.carried or place != self.here or not self._is_accessible(place):
            return None
        if not tables().fits(kind(thing), kind(place)):
            return None
        self.places[place].append(thing)
        self.carried = None
        return f"You put the {thing} in/on the {place}."

    def _change(self, action: str, thing: str, place: str) -> str | None:
        if thing != self.carried or place != self.here or kind(place) != DEVICES[action]:
            return None
        if not tables().can(action, kind(thing)):
            return None
        state = self.states.setdefault(thing, set())
        if action != "clean":
            state -= {"hot", "cool"}
        state.add(MADE[action])
        return f"You {action} the {thing} using the {place}."

    def _slice(self, thing: str, knife: str) -> str | None:
        if knife != self.carried or kind(knife) not in KNIVES or not self._is_at_hand(thing):
            return None
        if not tables().can("slice", kind(thing)):
            return None
        self.states.setdefault(thing, set()).add("sliced")
        return f"You sliced the {thing} with the {knife}."

    def _use(self, thing: str) -> str | None:
        if not self._is_at_hand(thing) or not tables().can("use", kind(thing)):
            return None
        self.states.setdefault(thing, set()).add("on")
        return f"You turn on the {thing}."

    def _examine(self, name: str) -> str | None:
        if name == self.here:
            return self._seen_in(name)
        if name != self.carried and not self._is_at_hand(name):
            return None
        states = " and ".join(state for state in ("hot", "cool", "clean") if self.is_(name, state))
        words = [states, "sliced" if self.is_(name, "sliced") else "", name]
        if not any(words[:2]):
            return f"There's nothing special about {name}."
        return f"This is a {' '.join(filter(None, words))}."

    def _look(self) -> str:
        if self.here is None:
            return self.look_around()
        return f"You are facing the {self.here}. Next to it, you see nothing."

    def _inventory(self) -> str:
        if self.carried is None:
            return "You are not carrying anything."
        return f"You are carrying: a {self.carried}."

    def _is_accessible(self, place: str) -> bool:
        return kind(place) not in OPENABLE or place in self.open

    def _is_at_hand(self, thing: str) -> bool:
        at = self.here
        return at is not None and self._is_accessible(at) and thing in self.places[at]

    def _seen_in(self, place: str) -> str:
        if not self._is_accessible(place):
            return f"The {place} is closed."
        seen = _listed(self.places[place])
        if place in self.open:
            return f"The {place} is open. In it, you see {seen}."
        return f"On the {place}, you see {seen}."


def _listed(names: Iterable[str]) -> str:
    """`a mug 1, and a pen 2`, as ALFWorld lists things."""
    *first, last = [f"a {name}" for name in names] or ["nothing"]
    return ", ".join([*first, f"and {last}"]) if first else last


_Act = Callable[..., str | None]
_ACTIONS: tuple[tuple[re.Pattern[str], _Act], ...] = (
    (re.compile(f"go to {_NAME}"), Household._go),
    (re.compile(f"open {_NAME}"), Household._open),
    (re.compile(f"close {_NAME}"), Household._close),
    (re.compile(f"take {_NAME} from {_NAME}"), Household._take),
    (re.compile(f"put {_NAME} (?:in/on|in|on) {_NAME}"), Household._put),
    (re.compile(f"move {_NAME} to {_NAME}"), Household._put),
    (re.compile(f"(clean|heat|cool) {_NAME} with {_NAME}"), Household._change),
    (re.compile(f"slice {_NAME} with {_NAME}"), Household._slice),
    (re.compile(f"use {_NAME}"), Household._use),
    (re.compile(f"examine {_NAME}"), Household._examine),
    (re.compile("look"), Household._look),
    (re.compile("inventory"), Household._inventory),
)
