"""The audit trail for tools: a function that takes a record of each call."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable

from agentlm.store import AuditRecord

__all__ = ["Audit", "AuditRecord", "digest", "log_audit"]

_log = logging.getLogger("agentlm.audit")

Audit = Callable[[AuditRecord], Awaitable[None]]
"""On a server this is `store.audit.add`."""


async def log_audit(record: AuditRecord) -> None:
    """Used if nothing stores the records: writes one line of JSON to the logger `agentlm.audit`."""
    _log.info("%s", record.model_dump_json())


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
