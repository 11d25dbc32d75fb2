"""Remove the server's secrets from everything that tools return.

Tools don't get secrets in the first place. This is for tools that find them nevertheless, for
example an own tool that prints its environment, or an MCP server that repeats its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|PRIVATE|SIGNATURE|COOKIE", re.IGNORECASE)
_SHORTEST = 8
"""Shorter values would match innocent text."""


class Secrets:
    """Values that no observation may contain."""

    def __init__(self, values: Mapping[str, str]) -> None:
        named = {value: name for name, value in values.items() if len(value) >= _SHORTEST}
        longest_first = sorted(named, key=len, reverse=True)
        self._values = dict(values)
        self._names = named
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def beside(self, values: Mapping[str, str]) -> Secrets:
        """These secrets and `values`."""
        return Secrets({**self._values, **values}) if values else self

    def scrub(self, text: str) -> str:
        """The text with each secret replaced by its name."""
        return self._pattern.sub(lambda match: f"[{self._names[match.group()]} removed]", text)


def secret_values(environment: Mapping[str, str], urls: Iterable[str | None]) -> dict[str, str]:
    """Environment variables with names of secrets, and passwords in URLs.

    If a value is `Bearer …`, the secret is the part after it.
    """
    secrets = {
        name: value.removeprefix("Bearer ").strip()
        for name, value in environment.items()
        if _NAME.search(name)
    }
    for url in [*urls, *(value for value in environment.values() if "://" in value)]:
        if url and (password := password_of(url)):
            secrets[f"password {len(secrets)}"] = password
    return secrets


def password_of(url: str) -> str | None:
    """The password in a URL, decoded."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return None
    return unquote(password) if password else None
