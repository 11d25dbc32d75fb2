"""Play one client's cells, inside the environment that it is installed in.

`python -m client_matrix.cells FILE WIRE…` plays them over each wire in turn, and prints one line of
JSON for each: which it is, and the first line of why it failed, or null.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
import traceback
from typing import Any

from client_matrix import questions

CELLS = ("text", "stream", "tool_call", "structured", "server_tool", "error", "cancel")
CELL_S = 120


def main() -> None:
    client = importlib.import_module(f"client_matrix.clients.{sys.argv[1]}")
    for questions.WIRE in sys.argv[2:]:
        for cell in CELLS:
            if play := getattr(client, cell, None):
                played = {"cell": cell, "wire": questions.WIRE, "failure": failure_of(play)}
                print(json.dumps(played), flush=True)


def failure_of(play: Any) -> str | None:
    """Why it fails, in a line; None if it passes. All of it goes to standard error."""
    try:
        if inspect.iscoroutinefunction(play):
            asyncio.run(asyncio.wait_for(play(), CELL_S))
        else:
            play()
    except BaseException as error:  # noqa: BLE001 - whatever a library raises is the finding
        traceback.print_exc()
        return f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return None


if __name__ == "__main__":
    main()
