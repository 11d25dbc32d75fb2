"""What an errand asks for, and whether it is done: ALFWorld's conditions on the state alone."""

from __future__ import annotations

from typing import Literal

from agentlm.environments.household.simulator import Household
from agentlm.environments.household.tables import kind
from agentlm.messages import Frozen

GoalKind = Literal["place", "light", "clean", "heat", "cool", "two"]
STATE = {"clean": "clean", "heat": "hot", "cool": "cool"}


class Goal(Frozen):
    """One of ALFWorld's six kinds; the kinds that are held out are about a slice."""

    kind: GoalKind
    thing: str
    """By kind: `mug`."""
    place: str
    """Kind of receptacle, or of lamp."""
    sliced: bool = False

    def is_met(self, home: Household) -> bool:
        """Whether the household is as it should be now."""
        if self.kind == "light":
            return self._is_lit(home)
        needed = 2 if self.kind == "two" else 1
        return any(
            kind(place) == self.place
            and sum(self._is_right(home, each) for each in there) >= needed
            for place, there in home.places.items()
        )

    def _is_right(self, home: Household, thing: str) -> bool:
        state = STATE.get(self.kind)
        return (
            kind(thing) == self.thing
            and (state is None or home.is_(thing, state))
            and (not self.sliced or home.is_(thing, "sliced"))
        )

    def _is_lit(self, home: Household) -> bool:
        """Whether the thing is in hand, and a lamp is on where the player is."""
        held = home.carried is not None and kind(home.carried) == self.thing
        there = home.places[home.here] if home.here else []
        return held and any(kind(lamp) == self.place and home.is_(lamp, "on") for lamp in there)
