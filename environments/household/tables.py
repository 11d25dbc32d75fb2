"""What there is in a household, what fits where and what can be done with it: `plans.yaml`."""

from __future__ import annotations

from functools import cache

from agentlm.environments.data_files import read_yaml
from agentlm.messages import Frozen

OPENABLE = frozenset(("fridge", "cabinet", "microwave", "drawer", "safe"))
DEVICES = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
"""Action → what it is done with."""
MADE = {"clean": "clean", "heat": "hot", "cool": "cool"}
"""Action → what a thing is then."""
KNIVES = frozenset(("knife", "butterknife"))


class Plan(Frozen):
    room: str
    receptacles: dict[str, int]
    """Kind → how many."""
    things: tuple[str, ...]
    """Kinds of things that may be about."""


class Tables(Frozen):
    """All of the file."""

    properties: dict[str, frozenset[str]]
    """`heat`, `cool`, `clean`, `slice`, `use` → the kinds of things that one can do it with."""
    holds: dict[str, frozenset[str]]
    """Kind of receptacle → kinds of things that may be put there."""
    plans: dict[str, Plan]

    def fits(self, thing: str, receptacle: str) -> bool:
        """Whether a thing may be put there; both by kind."""
        return thing in self.holds[receptacle]

    def can(self, action: str, thing: str) -> bool:
        """Whether `clean`, `heat`, `cool`, `slice` or `use` works on a kind of thing."""
        return thing in self.properties[action]


@cache
def tables() -> Tables:
    """Read once."""
    return Tables.model_validate(read_yaml("agentlm.environments.household", "plans.yaml"))


def kind(name: str) -> str:
    """Of a thing or receptacle: `mug` of `mug 2`."""
    return name.rpartition(" ")[0]
