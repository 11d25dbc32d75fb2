"""The webshop environment: search and click until something is bought, which is scored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agentlm.agent.tool import Observation
from agentlm.environments.task import Action, Split, Task
from agentlm.environments.webshop.catalogue import Product
from agentlm.environments.webshop.generate import tasks
from agentlm.environments.webshop.reward import Wish, reward
from agentlm.environments.webshop.shop import Shop
from agentlm.errors import OperatorError
from agentlm.messages import ToolSpec


def _spec(name: str, argument: str, description: str) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=description,
        parameters={
            "type": "object",
            "properties": {argument: {"type": "string"}},
            "required": [argument],
            "additionalProperties": False,
        },
    )


_SPECS = (
    _spec("search", "keywords", "Search the shop. Only on a page with a search bar."),
    _spec("click", "element", "Click what the page lists: a product, an option, Buy Now."),
)
_PROMPT = """\
Buy in a webshop what is wanted below. Search, open a product, choose its options, and click Buy \
Now: that ends it.

{page}"""


class WebshopEnvironment:
    """Wishes in shops that are drawn for each task."""

    name = "webshop"
    max_turns = 10

    def tools(self) -> tuple[ToolSpec, ...]:
        return _SPECS

    def prompt(self, task: Task) -> str:
        """What to do, and the first page, which says what is wanted."""
        return _PROMPT.format(page=Shop(task.instruction, ()).show())

    def generate(self, split: Split, seed: int = 0) -> Iterator[Task]:
        return tasks(split, seed)

    def load(self, path: Path, split: Split) -> list[Task]:
        """Not offered: WebShop's products are not available."""
        raise OperatorError("the webshop environment has no task files: it plays generated tasks")

    @asynccontextmanager
    async def open(self, task: Task) -> AsyncIterator[OpenShop]:
        """A visit to the task's shop."""
        yield OpenShop(task.instruction, task.parameters)


class OpenShop:
    """One visit."""

    def __init__(self, instruction: str, parameters: dict[str, Any]) -> None:
        self._wish = Wish.model_validate(parameters["wish"])
        self._shop = Shop(instruction, [Product.model_validate(p) for p in parameters["products"]])

    @property
    def over(self) -> bool:
        """Something was bought."""
        return self._shop.bought is not None

    @property
    def earned(self) -> float:
        """What the purchase is worth; without one, nothing."""
        bought = self._shop.bought
        return reward(self._wish, bought, self._shop.chosen) if bought else 0.0

    async def act(self, action: Action) -> Observation:
        if action.name == "search":
            page = self._shop.search(action.arguments["keywords"])
        else:
            page = self._shop.click(action.arguments["element"])
        if page is None:
            return Observation(f"error: that can't be done here.\n{self._shop.show()}", failed=True)
        return Observation(page)

    async def score(self, answer: str) -> float:
        """The text of an answer does not count."""
        return self.earned
