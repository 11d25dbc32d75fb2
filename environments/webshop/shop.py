"""A shop of pages: search, results, a product, its description. What may be clicked is listed.

The words and the form of a page are WebShop's: parts between `[SEP]`, then what can be done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentlm.environments.webshop.catalogue import Product

_ON_A_PAGE = 10
_BACK, _NEXT, _PREVIOUS, _BUY = "Back to Search", "Next >", "< Prev", "Buy Now"
_DETAILS = ("Description", "Features")
_WORD = re.compile(r"[a-z0-9]+")


@dataclass
class Shop:
    """One visit."""

    wish: str
    """The instruction, which every page repeats."""
    products: Sequence[Product]
    results: list[Product] | None = None
    page: int = 0
    product: Product | None = None
    detail: str | None = None
    chosen: dict[str, str] = field(default_factory=dict)
    """Option → value, of the product that is shown."""
    bought: Product | None = None

    def search(self, keywords: str) -> str | None:
        """The first results; None where there is no search bar."""
        if self.results is not None or self.bought is not None:
            return None
        self.results, self.page = self._ranked(keywords), 0
        return self.show()

    def click(self, element: str) -> str | None:
        """Follow an element; None if the page has no such one."""
        wanted = element.strip().casefold()
        listed = {name.casefold(): name for name in self.clickables()}
        if wanted not in listed:
            return None
        self._follow(listed[wanted])
        return self.show()

    def clickables(self) -> list[str]:
        """What can be clicked on this page."""
        if self.results is None or self.bought is not None:
            return []
        if self.product is None:
            more = len(self.results) > _ON_A_PAGE * (self.page + 1)
            ways = [_BACK, *([_NEXT] * more), *([_PREVIOUS] * (self.page > 0))]
            return [*ways, *(each.id for each in self._page_products())]
        if self.detail is not None:
            return [_BACK, _PREVIOUS]
        values = [value for each in self.product.options.values() for value in each]
        return [_BACK, _PREVIOUS, *_DETAILS, _BUY, *dict.fromkeys(values)]

    def show(self) -> str:
        """The page as text, and what can be done on it."""
        parts = ["Instruction:", self.wish, *self._content()]
        available = {
            "has_search_bar": not self.bought and self.results is None,
            "clickables": self.clickables(),
        }
        page = " [SEP] ".join(parts)
        return f"{page}\n\nAvailable actions: {json.dumps(available, ensure_ascii=False)}"

    def _content(self) -> list[str]:
        if self.bought is not None:
            return ["Thank you for shopping with us!"]
        if self.results is None:
            return ["Search"]
        if self.product is None:
            head = f"Page {self.page + 1} (Total results: {len(self.results)})"
            rows = [
                text
                for each in self._page_products()
                for text in (each.id, each.title, _price(each))
            ]
            return [_BACK, head, *rows]
        if self.detail is not None:
            return [_BACK, _PREVIOUS, f"{self.detail}: {'; '.join(self.product.attributes)}"]
        options = [
            f"{name}: {', '.join(values)} (chosen: {self.chosen.get(name, 'none')})"
            for name, values in self.product.options.items()
        ]
        return [
            _BACK,
            _PREVIOUS,
            *options,
            self.product.title,
            _price(self.product),
            *_DETAILS,
            _BUY,
        ]

    def _follow(self, name: str) -> None:
        if name == _BACK:
            self.results, self.product, self.detail = None, None, None
        elif name == _BUY:
            self.bought = self.product
        elif name == _PREVIOUS and self.detail is not None:
            self.detail = None
        elif name == _PREVIOUS and self.product is not None:
            self.product = None
        elif name in (_NEXT, _PREVIOUS):
            self.page += 1 if name == _NEXT else -1
        elif self.product is None:
            self.product = next(each for each in self._page_products() if each.id == name)
            self.chosen = {}
        elif name in _DETAILS:
            self.detail = name
        else:
            option = next(o for o, values in self.product.options.items() if name in values)
            self.chosen[option] = name

    def _page_products(self) -> list[Product]:
        begin = _ON_A_PAGE * self.page
        return (self.results or [])[begin : begin + _ON_A_PAGE]

    def _ranked(self, keywords: str) -> list[Product]:
        """By how many of the words a product has in its title or options; without one, none."""
        words = set(_WORD.findall(keywords.lower()))
        scores = {each.id: len(words & _words(each)) for each in self.products}
        matching = [each for each in self.products if scores[each.id]]
        return sorted(matching, key=lambda each: -scores[each.id])


def _words(product: Product) -> set[str]:
    options = " ".join(value for values in product.options.values() for value in values)
    return set(_WORD.findall(f"{product.title} {options}".lower()))


def _price(product: Product) -> str:
    return f"${product.price:.2f}"
