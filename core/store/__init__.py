"""Where trajectories are kept: SQLite or PostgreSQL, append-only, durable when a write returns."""

from agentlm.store.contract import (
    EVERYTHING,
    Continuation,
    Entry,
    Header,
    Selection,
    Source,
    Stats,
    Written,
)
from agentlm.store.store import Store

__all__ = [
    "EVERYTHING",
    "Continuation",
    "Entry",
    "Header",
    "Selection",
    "Source",
    "Stats",
    "Store",
    "Written",
]
