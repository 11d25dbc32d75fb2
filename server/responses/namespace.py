"""A tool that is several functions of the client's under one name.

To the model, in the log and over chat its functions are called `NAMESPACE__NAME`; on this wire a
call of one says both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NAMESPACE = "namespace"
"""The type of the tool."""
_BETWEEN = "__"
"""As between an MCP server and its tool."""
MOST_CHARS = 64
"""Of a function's whole name, at OpenAI's too."""


def spelt_call(name: str, tools: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The client's name for a function, given the tools that an answer repeats."""
    for tool in tools:
        prefix = f"{tool.get('name')}{_BETWEEN}"
        if tool["type"] == NAMESPACE and name.startswith(prefix):
            return {"name": name.removeprefix(prefix), "namespace": tool["name"]}
    return {"name": name}


def joined_name(name: str, namespace: str | None) -> str:
    """The model's name for a function."""
    return name if namespace is None else f"{namespace}{_BETWEEN}{name}"


def functions_of(tools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The model's names for the client's functions."""
    for tool in tools:
        if tool["type"] == "function":
            yield tool["name"]
        elif tool["type"] == NAMESPACE:
            yield from (joined_name(each["name"], tool["name"]) for each in tool["tools"])
