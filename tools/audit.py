"""The audit trail: one record for each tool call, whatever came of it."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import Field

from agentlm.messages import Frozen

_log = logging.getLogger("agentlm.audit")

Ending = Literal["ok", "failed", "denied", "timeout", "cancelled", "error"]


class AuditRecord(Frozen):
    """What was called, by whom, and how it ended. Holds no argument and no output, only digests."""

    tool: str
    trajectory_id: str
    owner: str
    call_id: str
    verdict: Ending
    """`failed`: the model was told what was wrong; `denied`: policy, a person or the run's budget
    kept it from running; `error`: the tool itself broke."""
    arguments_digest: str
    """SHA-256 of the arguments as written: equal calls can be told without keeping the text."""
    output_chars: int = 0
    seconds: float = 0.0
    created: float = Field(default_factory=time.time)
    """Unix seconds, when the call began."""


Audit = Callable[[AuditRecord], Awaitable[None]]


async def log_audit(record: AuditRecord) -> None:
    """Where records go if nobody stores them: one line of JSON on the logger `agentlm.audit`."""
    _log.info("%s", record.model_dump_json())


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
