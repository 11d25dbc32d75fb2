"""The store of trajectories: SQLite or PostgreSQL, append-only, durable when a write returns."""

from agentlm.store.audit import AuditRecord
from agentlm.store.completions import Completion
from agentlm.store.contract import Addition, Continuation, Entry, Header, Stats, Written
from agentlm.store.conversations import Item, NamedConversation
from agentlm.store.idempotency import Answer, KeptAnswer
from agentlm.store.keys import LOCAL_OWNER, ApiKey
from agentlm.store.selection import EVERYTHING, Conditions, Selection, Source
from agentlm.store.store import Store

__all__ = [
    "EVERYTHING",
    "LOCAL_OWNER",
    "Addition",
    "Answer",
    "ApiKey",
    "AuditRecord",
    "Completion",
    "Conditions",
    "Continuation",
    "Entry",
    "Header",
    "Item",
    "KeptAnswer",
    "NamedConversation",
    "Selection",
    "Source",
    "Stats",
    "Store",
    "Written",
]
