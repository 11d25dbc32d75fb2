"""New processes that begin with heavy modules loaded, so that twenty of them start in seconds."""

from __future__ import annotations

import multiprocessing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        *("agentlm.server.cli", "agentlm.store", "alembic.command", "openai", "psycopg"),
        "uvicorn.protocols.http.httptools_impl",
    ]
)
"""There is one fork server for all tests, so what it preloads is said once."""
