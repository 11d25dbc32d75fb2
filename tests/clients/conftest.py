"""Servers for LangChain's client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.background import in_background
from support.responder import Responder
from support.serving import Running, running
from support.tiny import tiny_llama


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serves `tiny`, which is made of rules, and an adapter of it called `tuned`.

    On a thread of its own, for tests that block.
    """
    directory = tiny_llama(tmp_path_factory.mktemp("server"))
    responder: Any = Responder()
    with in_background(running(directory, responder, "chatml", {})) as server:
        responder.play(server.engine, server.served.renderer)
        add_adapter(server, directory / "adapter")
        yield server


def add_adapter(server: Running, adapter: Path) -> None:
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    body = {"lora_name": "tuned", "lora_path": str(adapter)}
    httpx.post(f"{server.url}/v1/load_lora_adapter", json=body).raise_for_status()
