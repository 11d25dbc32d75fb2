"""What every client asks, and what it has to be answered. The standard library only."""

from __future__ import annotations

import json
import os
import time
from typing import Any
from urllib.request import urlopen

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

COMMAND = "Run 'ls' in the shell."
COMMAND_ANSWER = "The tool says: ran ls"
BASH = {"type": "bash"}
"""A tool that the server runs."""

MISSING = "missing"
"""No model's name."""
NOT_FOUND = "the model 'missing' is not served here"
"""The server's words, which a user has to be shown."""

TOO_LONG = "word " * 9000
"""More than the model's context holds."""

COUNT = "Count to 1000 for {}."


def counting(client: str) -> str:
    """A question whose answer takes long, no other client's."""
    return COUNT.format(client)


def check_cancelled(client: str) -> None:
    """The server notices within seconds that nobody reads the count any more, and stops."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for header in _get("trajectories?outcomes=cancelled&limit=100")["data"]:
            if counting(client) in json.dumps(_get(f"trajectories/{header['id']}")):
                return
        time.sleep(0.1)
    raise AssertionError("the server did not record that the request was cancelled")


def _get(path: str) -> Any:
    with urlopen(f"{URL}/{path}", timeout=10) as response:
        return json.load(response)


def equal(got: object, expected: object) -> None:
    """An assertion whose message a person can read in a table."""
    if got != expected:
        raise AssertionError(f"got {got!r}, expected {expected!r}")


def holds(got: object, expected: str) -> None:
    """`expected` stands in the text of `got`."""
    if expected not in str(got):
        raise AssertionError(f"got {str(got)[:300]!r}, expected {expected!r} in it")


def refused(error: BaseException | None, kind: type[BaseException]) -> None:
    """The missing model's error is of the client's own kind and has the server's words."""
    if not isinstance(error, kind):
        raise AssertionError(f"got {error!r}, expected {kind.__name__}")
    holds(error, NOT_FOUND)


def error_of(ask: Any) -> BaseException | None:
    """What calling it raises."""
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - it is judged by whoever asks
        return error
    return None
