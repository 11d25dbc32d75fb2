"""Where trajectories are kept: SQLite or PostgreSQL, append-only, durable when a write returns."""

from agentlm.store.contract import Continuation, Entry, Header, Selection, Source, Stats
from agentlm.store.store import Store

__all__ = ["Continuation", "Entry", "Header", "Selection", "Source", "Stats", "Store"]
