"""The server that all clients talk to: real in all but the model, which is made of rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.background import in_background
from support.responder import Responder
from support.serving import Running, Search, running

_TOKEN_S = 0.003
"""What a token takes: slow enough to be interrupted."""
_CONTEXT_TOKENS = 65_536
"""Codex alone says some 30,000 of the tiny tokenizer's before the user says anything."""


@contextmanager
def scripted_server(directory: Path) -> Iterator[Running]:
    """Serves `tiny` from `directory`, with a shell and a search that only say what was asked."""
    responder: Any = Responder()
    options: dict[str, Any] = {"delay_s": _TOKEN_S, "context": _CONTEXT_TOKENS}
    options["families"] = {"web": (Search(),)}
    with in_background(running(directory, responder, "chatml", options)) as server:
        responder.play(server.engine, server.served.renderer)
        yield server
