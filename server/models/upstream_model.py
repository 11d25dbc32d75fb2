"""A model run by another server, in messages. Fields beyond these are passed on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from agentlm.agent.ask import Ask
from agentlm.agent.engine_policy import Token
from agentlm.agent.loop import Limits
from agentlm.agent.upstream import Upstream
from agentlm.agent.upstream_policy import UpstreamPolicy
from agentlm.errors import RequestError
from agentlm.models.cards import ModelCard
from agentlm.prompt.render import Settings
from agentlm.server.conversation.beginning import Beginning, begin_as_text
from agentlm.server.conversation.keys import Conversation
from agentlm.server.openai.chat_request import ChatRequest
from agentlm.store import Store


@dataclass(frozen=True)
class UpstreamModel:
    name: str
    card: ModelCard
    upstream: Upstream

    owned_by = "upstream"
    adapter = None
    weights_version = None

    @property
    def root(self) -> str:
        """Its name there. The server's address is known to the operator only."""
        return self.upstream.model

    @property
    def max_model_len(self) -> int | None:
        """Context length in tokens, if it is known."""
        return self.card.max_model_len

    def check(self, request: ChatRequest) -> None:
        for name in ("logprobs", "prompt_logprobs", "return_token_ids"):
            if getattr(request, name) not in (None, False):
                self._refuse_tokens(name)

    def with_template(self, settings: Settings) -> UpstreamModel:
        """Unchanged: the settings are passed on, and the other server uses or refuses them."""
        return self

    def bounds(self, limits: Limits) -> Limits:
        """Without the limits against loops of small models: an upstream ends by itself."""
        return replace(limits, turn_tokens=sys.maxsize)

    def passed_on(self, request: ChatRequest) -> dict[str, Any]:
        return request.for_upstream()

    async def begin(self, store: Store, conversation: Conversation) -> Beginning:
        return await begin_as_text(store, conversation, self.card.system_prompt)

    def policy(
        self,
        ask: Ask,
        *,
        owner: str,
        on_tokens: Callable[[Sequence[Token]], None] | None,
        passed_on: Mapping[str, Any],
    ) -> UpstreamPolicy:
        return UpstreamPolicy(self.upstream, ask, passed_on, self.max_model_len)

    def token_bytes(self, token_id: int) -> bytes:
        """Raises RequestError: only the other server knows its tokens."""
        self._refuse_tokens("logprobs")

    def _refuse_tokens(self, param: str) -> NoReturn:
        raise RequestError(
            f"{self.name!r} runs on another server, which does not tell its tokens", param=param
        )


def connect_upstream(card: ModelCard, timeout_s: float, name: str | None = None) -> UpstreamModel:
    """A model run by another server. Raises OperatorError if its key is not set."""
    return UpstreamModel(name or card.name, card, Upstream.of(card, timeout_s=timeout_s))
