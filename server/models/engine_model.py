"""A model run by the engine, in token ids: continued exactly, with constrained decoding."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentlm.agent.ask import Ask
from agentlm.agent.engine_policy import EnginePolicy, Token
from agentlm.agent.loop import Limits
from agentlm.engine.protocol import Adapter, Engine
from agentlm.models.cards import ModelCard
from agentlm.models.registry import ModelFiles, card_template
from agentlm.prompt.digest import prompt_digest
from agentlm.prompt.render import Renderer, Settings
from agentlm.server.conversation.beginning import Beginning, begin
from agentlm.server.conversation.keys import Conversation
from agentlm.server.openai.chat_request import ChatRequest
from agentlm.store import Store

log = logging.getLogger("agentlm.server")


@dataclass(frozen=True)
class EngineModel:
    name: str
    files: ModelFiles
    renderer: Renderer
    engine: Engine
    adapter: Adapter | None = None
    """None: the engine's own weights."""

    owned_by = "agentlm"

    @property
    def card(self) -> ModelCard:
        """The card with the digests of its files."""
        return self.files.card

    @property
    def root(self) -> str:
        return self.card.location

    @property
    def weights_version(self) -> str:
        """Digest of everything that determines its answers."""
        return self.card.weights_version or ""

    @property
    def max_model_len(self) -> int:
        """Context length in tokens."""
        return self.engine.max_model_len

    def check(self, request: ChatRequest) -> None:
        request.check_schemas()

    def with_template(self, settings: Settings) -> EngineModel:
        return replace(self, renderer=self.renderer.with_settings(settings))

    def bounds(self, limits: Limits) -> Limits:
        return limits

    def passed_on(self, request: ChatRequest) -> dict[str, Any]:
        """Nothing: this server reads every field that the model supports."""
        return {}

    async def begin(self, store: Store, conversation: Conversation) -> Beginning:
        return await begin(store, conversation, self.renderer, self.max_model_len)

    def policy(
        self,
        ask: Ask,
        *,
        owner: str,
        on_tokens: Callable[[Sequence[Token]], None] | None,
        passed_on: Mapping[str, Any],
    ) -> EnginePolicy:
        return EnginePolicy(
            engine=self.engine,
            renderer=self.renderer,
            ask=ask,
            weights_version=self.weights_version,
            adapter=self.adapter,
            salt=owner,
            on_tokens=on_tokens,
        )

    def token_bytes(self, token_id: int) -> bytes:
        return self.renderer.token_bytes(token_id)


def load_engine_model(files: ModelFiles, engine: Engine, name: str | None = None) -> EngineModel:
    """A model from local files, ready to render for. Raises OperatorError."""
    card = files.card
    adapter = None
    if files.adapter is not None:
        # The version is part of the name, because engines cache prefixes by name.
        adapter = Adapter(name=f"{card.name}@{card.weights_version}", path=str(files.adapter))
    return EngineModel(name or card.name, files, load_renderer(files), engine, adapter)


def load_renderer(files: ModelFiles) -> Renderer:
    """The renderer of a model. Raises OperatorError for an unusable template."""
    card = files.card
    if card.prompt_digest not in (None, prompt_digest(thoughts=card.thoughts)):
        log.warning(
            "%s was trained with another prompt than this version writes: train it anew, or serve "
            "it with the version that trained it",
            card.name,
        )
    return Renderer.load(
        files.directory,
        card_template(card, files.directory),
        system_prompt=card.system_prompt,
        system=card.system,
        thoughts=card.thoughts,
    )


def base_files(files: ModelFiles) -> ModelFiles:
    """The files that the engine loads for a card: those of an adapter's base, or its own."""
    return files if files.base is None else ModelFiles(files.base, files.directory)
