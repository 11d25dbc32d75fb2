"""Wishes and shops: a product that is wanted, others much like it, and the expert who buys it.

Kinds are what a wish asks for beside the type; to ask for all at once is held out. Types and makers
belong to one split each, so that a shop of one sells nothing that another's does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random

from agentlm.environments.splits import task_random
from agentlm.environments.task import Action, Move, Split, Task
from agentlm.environments.webshop.catalogue import Product, product, types_of
from agentlm.environments.webshop.reward import Wish, reward
from agentlm.environments.webshop.shop import Shop

_KINDS = {
    "option": (0, 1),
    "attribute": (1, 0),
    "attribute and option": (1, 1),
    "options": (0, 2),
}
_HELD_OUT = {"attribute and options": (1, 2)}
"""Name → attributes and options that are asked for."""
_LIKE_IT = 7
_OTHERS = 24
_WORDS: dict[Split, tuple[str, ...]] = {
    "train": (
        "i am looking for a {thing}{details}{price}",
        "i need a {thing}{details}{price}",
        "i would like to buy a {thing}{details}{price}",
        "find me a {thing}{details}{price}",
        "i want a {thing}{details}{price}",
        "please get me a {thing}{details}{price}",
        "can you find a {thing}{details}{price}",
        "buy a {thing}{details} for me{price}",
        "order a {thing}{details}{price}",
        "show me and buy a {thing}{details}{price}",
    ),
    "dev": ("help me choose a {thing}{details}{price}",),
    "dev2": ("i'm shopping for a {thing}{details}{price}",),
    "test": (
        "it should be a {thing}{details}{price}",
        "my old {thing} is broken, get a new one{details}{price}",
    ),
}


def tasks(split: Split, seed: int = 0) -> Iterator[Task]:
    """An endless stream of distinct tasks; every kind comes once before any comes again."""
    kinds = _HELD_OUT if split == "test-kinds" else _KINDS
    names = sorted(kinds)
    Random(f"webshop/{split}/{seed}").shuffle(names)
    seen: set[str] = set()
    for index in count():
        name = names[index % len(names)]
        random = task_random("webshop", split, seed, index)
        task = _make(name, *kinds[name], split, random)
        if task.id not in seen:
            seen.add(task.id)
            yield task


def _make(kind: str, attributes: int, options: int, split: Split, random: Random) -> Task:
    products = _stock(split, random)
    wanted = products[0]
    names = random.sample(sorted(wanted.options), min(options, len(wanted.options)))
    priced = random.random() < 0.7
    wish = Wish(
        type=wanted.type,
        attributes=tuple(random.sample(wanted.attributes, attributes)),
        options={name: random.choice(wanted.options[name]) for name in names},
        price_below=float(round(wanted.price * 1.05 + 1)) if priced else None,
    )
    number = random.randrange(len(_WORDS[_worded(split)]))
    instruction = _stated(wish, _WORDS[_worded(split)][number])
    random.shuffle(products)
    return Task(
        environment="webshop",
        template=f"{kind}/{split}/{number}",
        family=kind,
        split=split,
        instruction=instruction,
        parameters={
            "products": [each.model_dump(mode="json") for each in products],
            "wish": wish.model_dump(mode="json"),
        },
        gold=tuple(_expert(products, wish, instruction, random)),
    )


def _worded(split: Split) -> Split:
    return "test" if split == "test-kinds" else split


def _stock(split: Split, random: Random) -> list[Product]:
    """What is wanted, others of its type, and what else the shop sells."""
    names = types_of(split)
    wanted = random.choice(names)
    sold = [wanted] * (1 + _LIKE_IT) + random.choices(names, k=_OTHERS)
    return [product(name, split, random) for name in sold]


def _stated(wish: Wish, words: str) -> str:
    asked = [*wish.attributes, *(_option(*each) for each in wish.options.items())]
    price = ""
    if wish.price_below is not None:
        price = f", and price lower than {wish.price_below:.2f} dollars"
    return words.format(thing=wish.type.lower(), details=f" with {', '.join(asked)}", price=price)


def _option(name: str, value: str) -> str:
    return value if value.startswith(f"{name}: ") else f"{name} {value}"


def _expert(
    products: list[Product], wish: Wish, instruction: str, random: Random
) -> Iterator[Move]:
    """Search, choose the first that has all, its options, and buy."""
    shop = Shop(instruction, products)
    words = " ".join([wish.type, *wish.attributes]).lower()
    yield _search(shop, words, f"I look for what is wanted: {words}.")
    right = [each for each in shop.results or () if reward(wish, each, wish.options) == 1]
    chosen = right[0]
    while chosen.id not in shop.clickables():
        yield _click(shop, "Next >", f"Nothing here has all of {words}. I look at the next page.")
    have = ", ".join([chosen.type, *wish.attributes, f"${chosen.price:.2f}"])
    yield _click(shop, chosen.id, f"{chosen.id} fits: {have}.")
    if random.random() < 0.2:
        yield _click(shop, "Features", f"I check the features of {chosen.id}.")
        yield _click(shop, "< Prev", "It is as wanted. Back to the product.")
    for name, value in wish.options.items():
        yield _click(shop, value, f"The {name} is to be {value}.")
    yield _click(shop, "Buy Now", "All that was asked for is chosen, so I buy it.")


def _search(shop: Shop, words: str, thought: str) -> Move:
    assert shop.search(words) is not None
    return Move(thought=thought, action=Action(name="search", arguments={"keywords": words}))


def _click(shop: Shop, element: str, thought: str) -> Move:
    assert shop.click(element) is not None, element
    return Move(thought=thought, action=Action(name="click", arguments={"element": element}))
