"""Where trajectories are kept: SQLite or PostgreSQL, append-only, durable when a write returns."""

from agentlm.store.audit import AuditRecord
from agentlm.store.completions import Completion
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
from agentlm.store.idempotency import Answer, KeptAnswer
from agentlm.store.keys import ApiKey
from agentlm.store.store import Store

__all__ = [
    "EVERYTHING",
    "Answer",
    "ApiKey",
    "AuditRecord",
    "Completion",
    "Continuation",
    "Entry",
    "Header",
    "KeptAnswer",
    "Selection",
    "Source",
    "Stats",
    "Store",
    "Written",
]
