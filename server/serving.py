"""A server from its settings: prepare model, tools, log and engine, then answer until stopped."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence

import uvicorn
import uvloop
from fastapi import FastAPI
from rich.markup import escape

from agentlm.console import Console
from agentlm.errors import OperatorError
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from agentlm.server.app import create_app
from agentlm.server.callers import Callers, check_origins_need_a_key, check_strangers_need_a_key
from agentlm.server.http.connection import Connection, Socket
from agentlm.server.models.engine_model import EngineModel, base_files, load_renderer
from agentlm.server.models.served import ServedModel
from agentlm.server.models.upstream_model import connect_upstream
from agentlm.server.settings import ServeSettings
from agentlm.server.vllm.flags import check_written
from agentlm.server.vllm.launch import allow_many_connections, is_cpu_build
from agentlm.server.vllm.memory import check_memory
from agentlm.server.vllm.pages import hand_back_freed
from agentlm.store import Store
from agentlm.store.database import without_password
from agentlm.tools.toolbox import Toolbox

console = Console(stderr=True, markup=True, soft_wrap=True)


def run(settings: ServeSettings, engine_arguments: Sequence[str], listener: socket.socket) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM. Raises OperatorError for what the operator
    can correct."""
    uvloop.run(_serve(settings, engine_arguments, listener))
    console.print("stopped")


async def _serve(
    settings: ServeSettings, engine_arguments: Sequence[str], listener: socket.socket
) -> None:
    registry = Registry(settings.data_dir)
    card = registry.get(settings.model)
    store = await asyncio.to_thread(Store.open, settings.log_url())
    check_strangers_need_a_key(settings, store)
    check_origins_need_a_key(settings, store)
    start = await _prepare(card, registry, settings, engine_arguments)
    toolbox = await Toolbox.open(settings, audit=store.audit.add)
    log = escape(without_password(settings.log_url()))
    console.print(f"[bold]2/3[/] tools {', '.join(toolbox.families())}; log {log}")
    base = await start()
    app = create_app(settings, base, store=store, toolbox=toolbox)
    url = "http://{}:{}".format(*listener.getsockname()[:2])
    name = settings.served_model_name or card.name
    hint = snippet(url, name, keyed=Callers(settings, store).needs_key)

    def ready() -> None:
        # Everything loaded so far stays; scanning it for garbage took a fifth of the time.
        gc.collect()
        gc.freeze()
        hand_back_freed()
        print(hint, flush=True)

    await Server(app, settings, ready).serve(sockets=[listener])


Start = Callable[[], Awaitable[ServedModel]]
"""The last and longest part of starting a model."""


async def _prepare(
    card: ModelCard, registry: Registry, settings: ServeSettings, engine_arguments: Sequence[str]
) -> Start:
    """Find the files of the requested model. Raises OperatorError before anything is loaded."""
    if card.source == "upstream":
        return _prepare_upstream(card, settings, engine_arguments)
    check_written(engine_arguments)
    console.print(f"[bold]1/3[/] model {escape(settings.model)}")
    files = await asyncio.to_thread(registry.resolve, card)
    own = base_files(files)
    if is_cpu_build():
        check_memory(own.directory, settings.max_model_len, engine_arguments)
    name = settings.served_model_name if own is files else None
    renderer = load_renderer(own)

    async def start() -> EngineModel:
        # The import takes seconds, so errors that can be found without it come first.
        from agentlm.server.vllm.engine import VLLMEngine, parse_arguments

        parse_arguments({}, engine_arguments)
        console.print("[bold]3/3[/] engine; the first start takes about a minute")
        engine = await VLLMEngine.start(
            own.directory,
            weights_version=own.card.weights_version or "",
            end_of_turn_ids=[renderer.end_of_turn_id],
            max_model_len=settings.max_model_len,
            seed=settings.seed,
            arguments=engine_arguments,
        )
        return EngineModel(name or own.card.name, own, renderer, engine)

    return start


def _prepare_upstream(
    card: ModelCard, settings: ServeSettings, engine_arguments: Sequence[str]
) -> Start:
    if engine_arguments:
        raise OperatorError(f"{engine_arguments[0]}: {card.name} runs on another server")
    console.print(f"[bold]1/3[/] model {escape(settings.model)}")
    served = connect_upstream(card, settings.upstream_timeout_s, settings.served_model_name)

    async def start() -> ServedModel:
        console.print(f"[bold]3/3[/] no engine: {escape(card.location)} is asked")
        return served

    return start


class Server(uvicorn.Server):
    """Answers until SIGINT or SIGTERM. Then requests in progress get `drain_s` to finish."""

    def __init__(self, app: FastAPI, settings: ServeSettings, on_listening: Callable[[], object]):
        wait = {"wait_s": settings.request_wait_s}
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=settings.drain_s,
            http=type("Connection", (Connection,), wait),
            ws=type("Socket", (Socket,), wait),
            # Messages wait in memory, and a few packed bytes could be a large one.
            ws_max_size=settings.max_request_bytes,
            ws_max_queue=1,
            ws_per_message_deflate=False,
        )
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        allow_many_connections()
        await super().startup(sockets)
        self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Afterwards uvicorn would kill itself with the signal that it has already obeyed."""
        console.print(
            f"stopping; what is being answered gets {self.config.timeout_graceful_shutdown} s"
        )
        await super().shutdown(sockets)
        handled = (signal.SIGINT, signal.SIGTERM)
        self._captured_signals = [it for it in self._captured_signals if it not in handled]


def snippet(url: str, model: str, *, keyed: bool) -> str:
    """An example to paste for trying the server."""
    header = ' -H "Authorization: Bearer $AGENTLM_API_KEY"' if keyed else ""
    key = 'os.environ["AGENTLM_API_KEY"]' if keyed else '"none"'
    return f"""
{model} is served at {url} (process {os.getpid()}; Ctrl-C ends it). Try:

curl {url}/v1/chat/completions{header} -H 'Content-Type: application/json' -d '{{
  "model": "{model}", "temperature": 0,
  "messages": [{{"role": "user", "content": "What is the capital of South Korea?"}}]}}'

Or let it act:

{"import os" + chr(10) if keyed else ""}from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key={key})
stream = client.chat.completions.create(
    model="{model}", stream=True, temperature=0, max_tokens=200, tools=[{{"type": "bash"}}],
    messages=[{{"role": "user", "content": "How many programs in /usr/bin start with z?"}}])
for chunk in stream:
    delta = chunk.choices[0].delta
    print(getattr(delta, "reasoning_content", None) or delta.content or "", end="", flush=True)
"""
