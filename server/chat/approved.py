"""Calls that a client approved. A run makes each of them once, before its model goes on.

The log notes the call before it begins, and its result for a day. If the client sends the request
again because the answer was lost, it gets the recorded result. A call that was interrupted is not
made again, because its effect is unknown.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from agentlm.agent.tool import ToolContext
from agentlm.errors import ConflictError
from agentlm.messages import ToolCall, new_call_id
from agentlm.store import Answer, KeptAnswer, Store
from agentlm.store.idempotency import KEPT_S
from agentlm.tools.run_tools import RunTools


@dataclass(frozen=True)
class Made:
    """The result of a call."""

    text: str
    failed: bool


@dataclass(frozen=True)
class Approved:
    """The calls of one request, and the tools they run with."""

    calls: Mapping[int, ToolCall]
    """By the index of the message for the result."""
    tools: RunTools

    async def make(self, call: ToolCall, store: Store, context: ToolContext, *, keep: bool) -> Made:
        """Make a call, or return its recorded result. Raises ConflictError if that is unknown."""
        key = f"approved\n{call.id}"  # not a client's key: a header has no newline
        digest = hashlib.sha256(f"{call.name}\n{call.arguments}".encode()).hexdigest()
        try:
            known = await store.requests.begin(context.owner, key, digest, lease_s=KEPT_S)
        except ConflictError:
            raise ConflictError(
                f"the call {call.name!r} was begun when it was approved before, and what it gave "
                "is not known here: it is not made again. Deny it to go on without it",
                param="input",
                code="approved_before",
            ) from None
        if known is not None:
            return Made(**json.loads(known.body or ""))
        # The client chose its id. While it waits for a decision it has one of ours, or another
        # call could have that id when the decision comes.
        ours = call.model_copy(update={"id": new_call_id()})
        observation = await self.tools.call(ours, context)
        made = Made(observation.text, observation.failed)
        body = json.dumps({"text": made.text, "failed": made.failed})
        answer = Answer(200, body if keep else None)
        await store.requests.end(KeptAnswer(context.owner, key, answer, time.time()))
        return made
