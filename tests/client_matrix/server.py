"""The server that all clients talk to: real in all but the model, which is made of rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.background import in_background
from support.responder import Responder
from support.serving import Running, running

_TOKEN_S = 0.003
"""What a token takes: slow enough to be interrupted."""


@contextmanager
def scripted_server(directory: Path) -> Iterator[Running]:
    """Serves `tiny` from `directory`, with a shell among its tools that only says what it ran."""
    responder: Any = Responder()
    options = {"delay_s": _TOKEN_S}
    with in_background(running(directory, responder, "chatml", options)) as server:
        responder.play(server.engine, server.served.renderer)
        yield server
