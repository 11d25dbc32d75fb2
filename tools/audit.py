"""The audit trail as tools see it: somebody who takes a record of each call."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable

from agentlm.store import AuditRecord

__all__ = ["Audit", "AuditRecord", "digest", "log_audit"]

_log = logging.getLogger("agentlm.audit")

Audit = Callable[[AuditRecord], Awaitable[None]]
"""`store.audit.add`, on a server."""


async def log_audit(record: AuditRecord) -> None:
    """Where records go if nobody stores them: one line of JSON on the logger `agentlm.audit`."""
    _log.info("%s", record.model_dump_json())


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
