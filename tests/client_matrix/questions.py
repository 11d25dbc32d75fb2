"""What every client asks, and what it has to be answered.

No package but pydantic, which all of the clients bring with them.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel

WIRE = "chat"
"""Which of the server's APIs is asked: `chat` or `responses`. Set by whoever plays the cells."""
URL = os.environ.get("CLIENT_MATRIX_URL", "")
"""Of the server, with `/v1`."""
MODEL = "tiny"
AGENT = "tiny:agent"
"""The model with all of the server's tools."""
KEY = "none"

HELLO = "Say hello."
GREETING = "Hello to you too! 你好."

FORECAST = "What is the weather in 'Rome' for 3 days?"
FORECAST_ANSWER = "The tool says: 3 days of sun in Rome"
ARGUMENTS = {"city": "Rome", "days": 3}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
FUNCTION: dict[str, Any] = {"type": "function", **TOOL["function"]}
"""The same as the Responses API spells it."""


def weather(city: str, days: int) -> str:
    """Tell the weather of a city.

    Args:
        city: The city's name.
        days: For how many days.
    """
    return f"{days} days of sun in {city}"


PLACE = "The city of 'Rome' has 3 rivers."
"""To be read into an object with a `name` and a number of `rivers`."""
PLACE_READ = {"name": "Rome", "rivers": 3}


class Place(BaseModel):
    """A place."""

    name: str
    rivers: int


COMMAND = "Run 'ls' in the shell."
COMMAND_ANSWER = "The tool says: ran ls"
BASH = {"type": "bash"}
"""A tool that the server runs."""

MISSING = "missing"
"""No model's name."""
NOT_FOUND = "the model 'missing' is not served here"
"""The server's words, which a user has to be shown."""

TOO_LONG = "字 " * 25_000
"""More tokens than the model's context holds: at least three each."""

COUNT = "Count to 1000 for {}."


def asking(text: str) -> list[Any]:
    """The messages of a conversation that begins so."""
    return [{"role": "user", "content": text}]


def counting(client: str) -> str:
    """A question whose answer takes long, no other client's and no other wire's."""
    return COUNT.format(f"{client}, {WIRE}")
