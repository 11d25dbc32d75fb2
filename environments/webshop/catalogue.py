"""Products made by rule: a maker, what the product is like, its type, options and a price.

The 50 types and their options are tau2's retail domain's (`products.yaml`); none is WebShop's. A
type's first options are what a buyer chooses (at most two), the others are what a product *is*, its
attributes. Makers are invented, after words of one split; types belong to one too.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from random import Random

from agentlm.environments.data_files import read_yaml
from agentlm.environments.names import words
from agentlm.environments.splits import deal
from agentlm.environments.task import Split
from agentlm.messages import Frozen

_IDENTITY = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TRADES = ("Brothers", "Goods", "House", "Labs", "Trading", "Union", "Works")
_VAGUE = {"yes", "no", "none"}
"""Values that say nothing without the name of their option."""


class ProductType(Frozen):
    """One of the file's."""

    price: tuple[float, float]
    options: dict[str, tuple[str, ...]]

    @property
    def chosen(self) -> tuple[str, ...]:
        """The options that a buyer chooses: no value is in both, since values are clicked."""
        first, *others = self.options
        apart = (o for o in others if not set(self.options[o]) & set(self.options[first]))
        return (first, *islice(apart, 1 if len(others) > 1 else 0))

    @property
    def fixed(self) -> tuple[str, ...]:
        """The options that a product has once for all."""
        return tuple(name for name in self.options if name not in self.chosen)


class Product(Frozen):
    """What a page shows."""

    id: str
    type: str
    title: str
    attributes: tuple[str, ...]
    options: dict[str, tuple[str, ...]]
    price: float


@cache
def types() -> dict[str, ProductType]:
    loaded = read_yaml("agentlm.environments.webshop", "products.yaml")
    return {name: ProductType.model_validate(fields) for name, fields in loaded.items()}


@cache
def types_of(split: Split) -> tuple[str, ...]:
    """The types that a split's tasks are about and that its shops sell."""
    return tuple(name for name, dealt in deal(types()).items() if dealt == split)


def product(name: str, split: Split, random: Random) -> Product:
    """One of a type."""
    kind = types()[name]
    values = {option: random.choice(kind.options[option]) for option in kind.fixed}
    attributes = tuple(phrase(option, value) for option, value in values.items())
    low, high = kind.price
    return Product(
        id="B0" + "".join(random.choices(_IDENTITY, k=8)),
        type=name,
        title=f"{_maker(split, random)} {name}, {', '.join(attributes)}",
        attributes=attributes,
        options={o: tuple(phrase(o, value) for value in kind.options[o]) for o in kind.chosen},
        price=round(random.uniform(0.8 * low, 1.2 * high), 2),
    )


def _maker(split: Split, random: Random) -> str:
    nouns = (*words("thing", split), *words("noun", split))
    return f"{random.choice(nouns).capitalize()} {random.choice(_TRADES)}"


def phrase(option: str, value: str) -> str:
    """A value in words that say what it is about: `cotton`, `waterproof: yes`."""
    return f"{option}: {value}" if value in _VAGUE else value
