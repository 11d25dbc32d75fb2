"""The application: its parts put together, and the order in which they start and stop."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from agentlm import __version__
from agentlm.jobs.evaluations import Evaluations
from agentlm.jobs.kept_files import KeptFiles
from agentlm.models.registry import Registry
from agentlm.server.callers import Callers
from agentlm.server.chat.background import Background
from agentlm.server.chat.chat import Chat
from agentlm.server.http import errors
from agentlm.server.http.guard import Guard
from agentlm.server.http.openapi import describe
from agentlm.server.http.underway import Underway
from agentlm.server.job_processes import Jobs
from agentlm.server.metrics import Metrics
from agentlm.server.models.publisher import Publisher
from agentlm.server.models.served import ServedModel, ServedModels
from agentlm.server.responses.sealed import Seals
from agentlm.server.routes import ROUTERS
from agentlm.server.settings import ServeSettings
from agentlm.server.state import ServerState
from agentlm.store import Store
from agentlm.tools.toolbox import Toolbox

_ABOUT: dict[str, Any] = {
    "title": "AgentLM",
    "version": __version__,
    "description": "An OpenAI-compatible server that acts with tools and learns from its log.",
}


def create_app(
    settings: ServeSettings,
    base: ServedModel,
    *,
    store: Store,
    toolbox: Toolbox,
) -> FastAPI:
    """The ASGI application. On shutdown it closes the engine of `base`, the toolbox and the
    store."""
    served = ServedModels(base, settings.drain_s)
    registry = Registry(settings.data_dir)
    publisher = Publisher(settings, served, registry)
    metrics = Metrics(store)
    underway = Underway()
    chat = Chat(settings, served, store, toolbox, metrics)
    state = ServerState(
        settings=settings,
        store=store,
        models=served,
        registry=registry,
        publisher=publisher,
        chat=chat,
        background=Background(chat, served.leases),
        metrics=metrics,
        files=KeptFiles(settings.data_dir),
        seals=Seals.open(settings.data_dir),
        jobs=Jobs(settings.data_dir, publisher.publish),
        evaluations=Evaluations(settings.data_dir),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        await publisher.publish_known()
        state.jobs.start_unfinished()
        yield
        await underway.cancel()
        await state.background.close(settings.drain_s)
        await state.jobs.close()
        await state.chat.drain()
        await toolbox.close()
        await served.close()
        store.close()

    app = FastAPIOffline(**_ABOUT, lifespan=lifespan, redoc_url=None)
    app.state.server = state
    app.add_middleware(
        Guard,
        settings=settings,
        callers=Callers(settings, store),
        metrics=metrics,
        underway=underway,
    )
    if settings.cors_origins:
        # Outside of the guard: a browser's preflight request has no key.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["authorization", "content-type", "idempotency-key", "x-request-id"],
            expose_headers=["x-request-id", "x-trajectory-id", "x-weights-version", "retry-after"],
        )
    errors.install(app)
    return _with_routes(app)


def openapi() -> dict[str, Any]:
    """The OpenAPI document without a server. The types of the page are made from it."""
    return _with_routes(FastAPI(**_ABOUT)).openapi()


def _with_routes(app: FastAPI) -> FastAPI:
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app
