"""Secrets of the server, taken out of whatever a tool gives back.

Tools are not given them in the first place; this is for those that find them all the same, such as
an own tool that prints its environment or an MCP server that echoes its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|PRIVATE|SIGNATURE|COOKIE", re.IGNORECASE)
_SHORTEST = 8
"""A shorter value would be found in innocent text."""


class Secrets:
    """Values that no observation may hold."""

    def __init__(self, values: Mapping[str, str]) -> None:
        named = {value: name for name, value in values.items() if len(value) >= _SHORTEST}
        longest_first = sorted(named, key=len, reverse=True)
        self._values = dict(values)
        self._names = named
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def beside(self, values: Mapping[str, str]) -> Secrets:
        """The same and `values`."""
        return Secrets({**self._values, **values}) if values else self

    def scrub(self, text: str) -> str:
        """The text with each secret's name in its place."""
        return self._pattern.sub(lambda found: f"[{self._names[found.group()]} removed]", text)


def secret_values(environment: Mapping[str, str], urls: Iterable[str | None]) -> dict[str, str]:
    """Variables that are named like secrets, and the passwords in URLs.

    Of `Bearer …`, the secret is what follows.
    """
    found = {
        name: value.removeprefix("Bearer ").strip()
        for name, value in environment.items()
        if _NAME.search(name)
    }
    for url in [*urls, *(value for value in environment.values() if "://" in value)]:
        if url and (password := password_of(url)):
            found[f"password {len(found)}"] = password
    return found


def password_of(url: str) -> str | None:
    """The password in a URL, as it was meant."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return None
    return unquote(password) if password else None
