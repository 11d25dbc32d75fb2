"""New processes that begin with heavy modules loaded, so that twenty of them start in seconds."""

from __future__ import annotations

import multiprocessing
import signal

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        *("agentlm.server.serving", "agentlm.store", "alembic.command", "openai", "psycopg"),
        "uvicorn.protocols.http.httptools_impl",
    ]
)
"""There is one fork server for all tests, so what it preloads is said once."""


def interruptible() -> None:
    """Run in a child before its program: what a shell starts in the background ignores SIGINT, and
    so do its children, which a test could then not interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
