"""WebShop's reward: how much of what was wanted a bought product has.

    r = r_type · (attributes it has + options as chosen + price in bounds) / all that was asked

`r_type` is 1 for a product of the type that was wanted; else 0.5, 0.1 or 0 by the share of the
type's words that its title has. WebShop takes more than a fifth of the words for the same type: a
tea kettle would do for an electric one. Here it is half of one.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentlm.environments.webshop.catalogue import Product
from agentlm.messages import Frozen

_ALIKE = 0.2


class Wish(Frozen):
    """What the buyer wants."""

    type: str
    attributes: tuple[str, ...]
    options: dict[str, str]
    price_below: float | None


def reward(wish: Wish, bought: Product, chosen: Mapping[str, str]) -> float:
    """In [0, 1]."""
    had = len(set(wish.attributes) & set(bought.attributes))
    had += sum(chosen.get(option) == value for option, value in wish.options.items())
    wanted_count = len(wish.attributes) + len(wish.options)
    if wish.price_below is not None:
        had, wanted_count = had + (bought.price <= wish.price_below), wanted_count + 1
    return _of_type(wish, bought) * had / wanted_count


def _of_type(wish: Wish, bought: Product) -> float:
    if bought.type == wish.type:
        return 1.0
    words = set(wish.type.lower().split())
    share = len(words & set(bought.title.lower().replace(",", "").split())) / len(words)
    if share > _ALIKE:
        return 0.5
    return 0.1 if share else 0.0
