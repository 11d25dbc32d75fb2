"""A real server on a real port, with a real log, whose engine says what a test tells it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI
from openai import AsyncOpenAI
from pydantic import BaseModel

from agentlm.agent.tool import ToolContext, ToolError
from agentlm.engine.scripted import ScriptedEngine
from agentlm.models.cards import ModelCard
from agentlm.models.registry import ModelFiles
from agentlm.server.app import create_app
from agentlm.server.models.engine_model import EngineModel
from agentlm.server.serving import Server
from agentlm.server.settings import ServeSettings
from agentlm.store import Store
from agentlm.tools.audit import AuditRecord
from agentlm.tools.toolbox import Toolbox
from agentlm.trajectory import Trajectory
from support.tiny import Template, tiny_renderer

Reply = str | Sequence[int] | Exception


class Bash:
    """Run a shell command and get what it prints."""

    name = "bash"

    class Args(BaseModel):
        command: str

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.hanging = asyncio.Event()
        self.resume = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def run(self, args: Args, context: ToolContext) -> str:
        self.calls.append(args.command)
        match args.command:
            case "fail":
                raise ToolError("no such command")
            case "crash":
                raise RuntimeError("the sandbox is on fire")
            case "hang":
                await self._hang()
        return f"ran {args.command}"

    async def _hang(self) -> None:
        self.hanging.set()
        try:
            await self.resume.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def release(self, trajectory_id: str) -> None:
        pass

    async def close(self) -> None:
        pass


class Search:
    """Search the web."""

    name = "web_search"

    class Args(BaseModel):
        query: str

    async def run(self, args: Args, context: ToolContext) -> str:
        return f"found {args.query}"

    async def release(self, trajectory_id: str) -> None:
        pass

    async def close(self) -> None:
        pass


@dataclass
class Running:
    """A server under test."""

    client: AsyncOpenAI
    engine: ScriptedEngine
    store: Store
    bash: Bash
    url: str
    served: EngineModel
    stopped: asyncio.Task[None]
    """Done when the server has shut down."""

    def trajectory(self, identity: str) -> Trajectory:
        found = self.store.get(identity, None)
        assert found is not None
        return found

    def trajectories(self) -> list[Trajectory]:
        """All of the log, oldest first."""
        headers, _ = self.store.page(None, limit=100)
        return [self.trajectory(header.id) for header in reversed(headers)]


class Serve(Protocol):
    def __call__(
        self, *replies: Reply, template: Template = "chatml", **options: Any
    ) -> AbstractAsyncContextManager[Running]: ...


async def _no_audit(_record: AuditRecord) -> None:
    pass


@asynccontextmanager
async def running(
    directory: Path, replies: Sequence[Reply], template: Template, options: dict[str, Any]
) -> AsyncIterator[Running]:
    name = options.pop("name", "tiny")
    context = options.pop("context", 8192)
    delay_s = options.pop("delay_s", 0.0)
    families = options.pop("families", {})
    renderer = options.pop("renderer", None) or tiny_renderer(template)
    files = options.pop("files", None)
    settings = ServeSettings(**{"data_dir": directory, "port": 0, "drain_s": 2, **options})
    card = ModelCard(name=name, source="local", location=str(directory), weights_version="w0")
    engine = ScriptedEngine(
        replies,
        encode=renderer.content.encode,
        decode=renderer.decode,
        end_of_turn=renderer.end_of_turn_id,
        max_model_len=context,
        weights_version="w0",
        delay_s=delay_s,
    )
    served = EngineModel(name, files or ModelFiles(card, directory), renderer, engine)
    store = Store.open(settings.log_url())
    bash = Bash()
    toolbox = Toolbox(settings, _no_audit, {"bash": (bash,), **families})
    if settings.tools is not None:
        toolbox = await Toolbox.open(settings, audit=store.audit.add)
    app = create_app(settings, served, store=store, toolbox=toolbox)
    async with _listening(app, settings) as (url, stopped):
        key = options.get("api_key") or "none"
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            yield Running(client, engine, store, bash, url, served, stopped)


@asynccontextmanager
async def _listening(
    app: FastAPI, settings: ServeSettings
) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    up = asyncio.Event()
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = Server(app, settings, up.set)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await up.wait()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", task
    finally:
        server.should_exit = True
        await task
