"""A server that asks another, which says what a test tells it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from werkzeug import Response

from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from support.serving import Running, running


@asynccontextmanager
async def near(directory: Path, url: str, **options: Any) -> AsyncIterator[Running]:
    """A server that serves the upstream at `url` as `teacher`, beside a model of its own."""
    card = ModelCard(name="teacher", source="upstream", location=url, upstream_model="tiny")
    Registry(directory).add(card)
    async with running(directory, (), "chatml", options) as server:
        await server.client.post("/models", cast_to=object, body={"name": "teacher"})
        yield server


def events(*chunks: Any) -> Response:
    """A stream of these chunks."""
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return Response(text, content_type="text/event-stream")
