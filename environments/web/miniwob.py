"""MiniWoB++: small pages with a task each, by Shi, Liu and others (MIT; package `miniwob`).

Pages and rewards are the package's own; a number, a line of text for each element and three tools
stand for its screenshots and coordinates. There is no clock: a model on a laptop would lose by it.

A page of a kind that is trained on belongs to one split, by the digest of all that it says. So
splits share no page, and kinds that say little have few.

The page keeps its own score, where only its own script can reach it: once it is drawn, no script is
let in (what a player types may end up in it as HTML), and a page that was left is worth nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any, Self

from agentlm.agent.tool import ToolError
from agentlm.environments.adapters.loading import folder_of, needed
from agentlm.environments.adapters.world import Problem, World
from agentlm.environments.splits import split_of
from agentlm.environments.task import Action, Move, Split
from agentlm.environments.web.browser import Browser, Tab
from agentlm.environments.web.experts import EXPERTS, HELD_OUT, Deed
from agentlm.install import install

NAME = "web"
_DESCRIBE = files("agentlm.environments.web").joinpath("page.js").read_text(encoding="utf-8")
_OPTIONS = "element => [...(element.options || [])].map((option) => option.text)"
_FREE_POINT = """element => {
  const box = element.getBoundingClientRect();
  for (const [x, y] of [[4, 4], [1, 1], [7, 1], [1, 7], [7, 7], [4, 1], [1, 4], [7, 4], [4, 7]]) {
    const point = { x: (box.width * x) / 8, y: (box.height * y) / 8 };
    const top = document.elementFromPoint(box.x + point.x, box.y + point.y);
    if (element.contains(top)) return point;
  }
  return null;
}"""
_FIND = "number => (window.agentlmElements || [])[number - 1]"
_STATE = f"() => [WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL, ({_DESCRIBE})()]"
_DRAW = """seed => {
  if (window.jQuery) jQuery.fx.off = true;
  core.EPISODE_MAX_TIME = 2 ** 31 - 1;
  Math.seedrandom(seed);
  core.startEpisodeReal();
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = "script-src 'none'; object-src 'none'";
  document.head.append(policy);
  return core.getUtterance();
}"""
_SETTLE_S = 0.02
"""For what a page does at once, but not within the event: a list of suggestions opens by a timer of
no time, a picture gives way to another one below the mouse."""
_SEEDS = 2**31
_IN_VAIN = 60
"""Pages of a kind that are drawn for a new one of the split before the kind is given up."""
_MAX_CHARS = 500
"""Of a text to be typed, which comes a key at a time; no page asks for a fifth of it."""


def world_of(_: str) -> type[World]:
    """The pages. Raises OperatorError if package, Playwright or Chromium is missing."""
    folder = folder_of("miniwob", install(NAME)) / "html/miniwob"
    members = {"folder": folder, "browser": Browser(NAME), "__doc__": _Visit.__doc__}
    return type("MiniWob", (_Visit,), members)


class _Visit(World):
    """Do on a web page what is asked, with the tools click, type and select. An element is named by
    its number in brackets, as the page was told last. The page ends by itself when it is done.
    """

    max_turns = 15
    folder: Path
    browser: Browser
    _tab: Tab | None = None
    _asked = _told = _url = ""

    @classmethod
    @asynccontextmanager
    async def shared(cls) -> AsyncIterator[None]:
        """The browser."""
        try:
            yield
        finally:
            await asyncio.to_thread(cls.browser.stop)

    @classmethod
    def tasks(cls, split: Split, seed: int) -> Iterator[Problem]:
        """A page of each kind in turn, as long as there are new ones."""
        random, seen = Random(f"web/{split}/{seed}"), set[str]()
        kinds = list(HELD_OUT if split == "test-kinds" else EXPERTS)
        while kinds:
            for kind in tuple(kinds):
                seeds = (random.randrange(_SEEDS) for _ in range(_IN_VAIN))
                problem = next(cls._drawn(kind, seeds, split, seen), None)
                if problem is None:
                    kinds.remove(kind)
                else:
                    seen.add(problem.instruction)
                    yield problem

    def start(self) -> None:
        """Open the page that the parameters name."""
        self._tab = self.browser.take()
        self.browser.run(self._tab, self._open(self._tab.page))

    def close(self) -> None:
        """Close it."""
        if self._tab is not None:
            self.browser.give(self._tab)

    def click(self, element: int) -> str:
        """Click an element."""
        return self._acted(element, "click")

    def type(self, element: int, text: str) -> str:
        """Write text into a field, in place of what is there."""
        if len(text) > _MAX_CHARS:
            raise ToolError(f"a text of {len(text)} characters; at most {_MAX_CHARS}")
        return self._acted(element, "type", text)

    def select(self, element: int, option: str) -> str:
        """Choose an option of a select."""
        return self._acted(element, "select", option)

    @classmethod
    def _drawn(
        cls, kind: str, seeds: Iterable[int], split: Split, seen: Collection[str]
    ) -> Iterator[Problem]:
        """New pages of a split. Most that are drawn are not: so they are drawn over each other on
        one page, and only those that may be are opened as they will be played."""
        with cls._opened(kind, 0) as sketch:
            for seed in seeds:
                sketch._redraw(seed)
                if sketch._is_new(split, seen):
                    with cls._opened(kind, seed) as visit:
                        if visit._is_new(split, seen):
                            yield visit._problem()

    @classmethod
    @contextmanager
    def _opened(cls, kind: str, seed: int) -> Iterator[Self]:
        visit = cls({"kind": kind, "seed": seed})
        try:
            visit.start()
            yield visit
        finally:
            visit.close()

    @property
    def _instruction(self) -> str:
        return f"{self._asked}\n\nThe page:\n{self._told}"

    def _is_new(self, split: Split, seen: Collection[str]) -> bool:
        mine = self.parameters["kind"] in HELD_OUT or split_of(self._instruction) == split
        return mine and self._instruction not in seen

    def _problem(self) -> Problem:
        """What is asked on the page, and how an expert does it."""
        kind, instruction = self.parameters["kind"], self._instruction
        moves = tuple(self._solved()) if kind in EXPERTS else ()
        gold = moves if self.earned >= 1 else ()
        return Problem(instruction, self.parameters, family=kind, gold=gold)

    def _solved(self) -> Iterator[Move]:
        """Play the expert's steps, as far as the page has what they want."""
        for step in EXPERTS[self.parameters["kind"]](self._asked):
            move = as_move(step, self._told)
            if move is None or move.action is None or self.over:
                return
            yield move
            self.act(move.action)

    def _redraw(self, seed: int) -> None:
        if self._tab is not None:
            self.browser.run(self._tab, self._draw(self._tab.page, seed))

    def _acted(self, number: int, verb: str, value: str = "") -> str:
        if self._tab is None or self.over:
            raise ToolError("the page is done")
        return self.browser.run(self._tab, self._act(self._tab.page, number, verb, value))

    async def _open(self, page: Any) -> None:
        self._url = (self.folder / f"{self.parameters['kind']}.html").as_uri()
        await page.goto(self._url)
        await self._draw(page, self.parameters["seed"])

    async def _draw(self, page: Any, seed: int) -> None:
        self._asked = await page.evaluate(_DRAW, seed)
        await self._look(page)

    async def _act(self, page: Any, number: int, verb: str, value: str) -> str:
        element = (await page.evaluate_handle(_FIND, number)).as_element()
        if element is None:
            raise ToolError(f"there is no element [{number}]:\n{self._told}")
        if verb == "select" and value not in (options := await element.evaluate(_OPTIONS)):
            raise ToolError(f"[{number}] has no option {value!r}; options: {', '.join(options)}")
        try:
            await _do(element, verb, value)
        except Exception as error:
            if not _is_refusal(error) or page.is_closed():
                raise
            raise ToolError(f"[{number}] can't be used so: {_first_line(error)}") from error
        await asyncio.sleep(_SETTLE_S)
        await self._look(page)
        return self._told

    async def _look(self, page: Any) -> None:
        """What the page says now, and its score."""
        try:
            self.over, reward, self._told = await page.evaluate(_STATE)
        except Exception:
            if page.is_closed() or page.url.partition("#")[0] == self._url:
                raise
        if page.url.partition("#")[0] != self._url:
            self.over, reward, self._told = True, 0, "the page was left"
        self.earned = min(1.0, max(0.0, float(reward)))


async def _do(element: Any, verb: str, value: str) -> None:
    """Whatever lies on the element; where it is partly covered, it is clicked beside that."""
    match verb:
        case "click":
            await element.hover(force=True, position=await element.evaluate(_FREE_POINT))
            await asyncio.sleep(_SETTLE_S)
            await element.click(force=True, position=await element.evaluate(_FREE_POINT))
        case "type" if await element.get_attribute("type") == "date":
            await element.fill(value, force=True)
        case "type":
            await element.fill("", force=True)
            await element.type(value)
        case _:
            await element.select_option(label=value, force=True)


def _is_refusal(error: Exception) -> bool:
    """Whether the element is not one to be used so; a page that is too slow, or gone, is broken."""
    library = needed("playwright.async_api", "playwright", install(NAME))
    if not isinstance(error, library.Error) or isinstance(error, library.TimeoutError):
        return False
    return "closed" not in str(error) and "crashed" not in str(error)


def as_move(step: Deed, page: str) -> Move | None:
    """The step as a call, if the page has what it wants."""
    lines = [line.partition("] ") for line in page.splitlines()]
    fitting = [(int(number[1:]), what) for number, _, what in lines if what.startswith(step.wanted)]
    if len(fitting) <= step.place:
        return None
    number, what = fitting[step.place]
    arguments: dict[str, Any] = {"element": number}
    if step.verb != "click":
        arguments["text" if step.verb == "type" else "option"] = step.value
    value = f' "{step.value}" in' if step.value else ""
    thought = f"I {step.verb}{value} [{number}], {what}."
    return Move(thought=thought, action=Action(name=step.verb, arguments=arguments))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].partition(": ")[2] or type(error).__name__
