"""What a site's robots.txt lets us fetch (RFC 9309)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

_KEEP_S = 3600.0
_SITES = 512
_LINES = 5000


@dataclass(frozen=True, slots=True)
class Rule:
    """Allow or disallow paths that match."""

    allow: bool
    pattern: str


def parse_robots(text: str, agent: str) -> tuple[Rule, ...]:
    """The rules of the groups that name `agent`, or else of those for everybody."""
    groups: dict[str, list[Rule]] = {}
    agents: list[str] = []
    in_rules = False
    for line in text.splitlines()[:_LINES]:
        key, _, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if key == "user-agent":
            agents = [value.lower()] if in_rules else [*agents, value.lower()]
            in_rules = False
            groups.setdefault(value.lower(), [])
        elif key in ("allow", "disallow"):
            in_rules = True
            if value:
                for name in agents:
                    groups[name].append(Rule(key == "allow", value))
    return tuple(groups.get(agent.lower(), groups.get("*", [])))


def allowed(rules: tuple[Rule, ...], path: str) -> bool:
    """The longest pattern that matches decides; allow wins a tie; no match allows."""
    matching = [rule for rule in rules if _matches(rule.pattern, path)]
    best = max(matching, key=lambda rule: (len(rule.pattern), rule.allow), default=None)
    return best is None or best.allow


def _matches(pattern: str, path: str) -> bool:
    """`*` stands for anything, a final `$` for the end. Linear: each piece is looked for once."""
    anchored = pattern.endswith("$")
    first, *pieces = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    position = len(first)
    for piece in pieces:
        start = path.find(piece, position)
        if start < 0:
            return False
        position = start + len(piece)
    if not anchored:
        return True
    last = pieces[-1] if pieces else first
    return path.endswith(last) and (bool(pieces) or path == first)


class Robots:
    """Rules of the sites that were asked, kept for an hour."""

    def __init__(
        self, agent: str, fetch: Callable[[httpx.URL], Awaitable[tuple[int, bytes]]]
    ) -> None:
        self._agent = agent
        self._fetch = fetch
        self._sites: OrderedDict[str, tuple[float, tuple[Rule, ...]]] = OrderedDict()

    async def allows(self, url: httpx.URL) -> bool:
        """Whether the site lets us fetch this. One that can't say (5xx) lets us fetch nothing."""
        site = f"{url.scheme}://{url.netloc.decode()}"
        known = self._sites.get(site)
        if known is None or time.monotonic() - known[0] > _KEEP_S:
            known = time.monotonic(), await self._rules(url.copy_with(raw_path=b"/robots.txt"))
            self._sites[site] = known
            if len(self._sites) > _SITES:
                self._sites.popitem(last=False)
        return allowed(known[1], url.raw_path.decode())

    async def _rules(self, address: httpx.URL) -> tuple[Rule, ...]:
        status, body = await self._fetch(address)
        if 200 <= status < 300:
            return parse_robots(body.decode(errors="replace"), self._agent)
        return (Rule(False, "/"),) if status >= 500 else ()
