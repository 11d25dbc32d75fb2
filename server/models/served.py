"""The models that a running server answers for, by the names that clients use.

A `ServedModel` is anything that can answer: `engine_model` works in token ids, `upstream_model` in
messages. Nothing outside this folder needs to know which of them it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from agentlm.agent.ask import Ask
from agentlm.agent.engine_policy import Token
from agentlm.agent.loop import Limits
from agentlm.agent.policy import Policy
from agentlm.engine.protocol import Adapter, Engine
from agentlm.errors import ConflictError, NotFoundError, RequestError
from agentlm.models.cards import ModelCard
from agentlm.prompt.render import Settings
from agentlm.server.conversation.beginning import Beginning
from agentlm.server.conversation.keys import Conversation
from agentlm.server.models.engine_model import EngineModel
from agentlm.server.models.leases import Leases
from agentlm.server.models.upstream_model import UpstreamModel
from agentlm.server.openai.chat_request import ChatRequest
from agentlm.store import Store

AGENT_SUFFIX = ":agent"
"""`NAME:agent` is NAME with all of the server's tools, for clients that can't set anything else."""


class ServedModel(Protocol):
    """One served model, whatever runs it."""

    @property
    def name(self) -> str:
        """The name that clients use."""
        ...

    @property
    def card(self) -> ModelCard: ...

    @property
    def owned_by(self) -> str:
        """Who runs it, for `/v1/models`."""
        ...

    @property
    def root(self) -> str:
        """Its name at its origin."""
        ...

    @property
    def adapter(self) -> Adapter | None:
        """The adapter that changes the engine's own weights."""
        ...

    @property
    def weights_version(self) -> str | None:
        """Digest of everything that determines its answers; None: unknown."""
        ...

    @property
    def max_model_len(self) -> int | None:
        """Context length in tokens; None: unknown."""
        ...

    def check(self, request: ChatRequest) -> None:
        """Raises RequestError if this model can't do what the request asks."""
        ...

    def with_template(self, settings: Settings) -> ServedModel:
        """The same model with these template settings. Raises RequestError."""
        ...

    def bounds(self, limits: Limits) -> Limits:
        """The limits of a run that apply to this model."""
        ...

    def passed_on(self, request: ChatRequest) -> dict[str, Any]:
        """Fields of a request that only the server which runs the model reads."""
        ...

    async def begin(self, store: Store, conversation: Conversation) -> Beginning:
        """Where a conversation's next run begins. Raises ContextLengthError if it does not fit."""
        ...

    def policy(
        self,
        ask: Ask,
        *,
        owner: str,
        on_tokens: Callable[[Sequence[Token]], None] | None,
        passed_on: Mapping[str, Any],
    ) -> Policy:
        """The policy that writes the turns of a run. `on_tokens` gets the answer's tokens."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of a token. Raises RequestError if they are unknown."""
        ...


class ServedModels:
    """Models by name. The first one added is the engine's base, if there is one."""

    def __init__(self, first: ServedModel, drain_s: float = 30) -> None:
        self.leases = Leases(drain_s)
        self._engine = first.engine if isinstance(first, EngineModel) else None
        self._models: dict[str, ServedModel] = {first.name: first}
        self._aliases: dict[str, str] = {}
        self._upstreams = [first.upstream] if isinstance(first, UpstreamModel) else []

    @property
    def engine(self) -> Engine:
        """The engine of the base. Raises RequestError if the server has upstreams only."""
        if self._engine is None:
            raise RequestError("this server runs no model itself: it only asks upstreams")
        return self._engine

    @property
    def base(self) -> EngineModel:
        """The model whose weights the engine runs. Raises RequestError if there is none."""
        first = next(iter(self._models.values()))
        return self._own(first)

    @property
    def default(self) -> ServedModel:
        """The model for requests that name none."""
        return next(iter(self._models.values()))

    def all(self) -> list[ServedModel]:
        """The base first."""
        return list(self._models.values())

    def find(self, name: str) -> tuple[ServedModel, bool]:
        """The model, and whether the name stands for its agent form. Raises NotFoundError."""
        plain = name.removesuffix(AGENT_SUFFIX)
        served = self._models.get(self._aliases.get(plain, plain))
        if served is None:
            known = ", ".join((*self._models, *self._aliases))
            raise NotFoundError(
                f"the model {name!r} is not served here; served: {known}",
                param="model",
                code="model_not_found",
            )
        return served, plain != name

    def find_own(self, name: str | None) -> EngineModel:
        """A model of the engine, by default the base. Raises RequestError for an upstream's."""
        return self.base if name is None else self._own(self.find(name)[0])

    def _own(self, served: ServedModel) -> EngineModel:
        if not isinstance(served, EngineModel):
            raise RequestError(
                f"{served.name!r} runs on another server, which does not tell its tokens",
                param="model",
            )
        return served

    def aliases(self) -> dict[str, ServedModel]:
        """Other names, with the served model of each."""
        return {alias: self._models[name] for alias, name in self._aliases.items()}

    def point(self, alias: str, served: ServedModel) -> None:
        """Make a name stand for a served model, from the next request on."""
        self._aliases[alias] = served.name

    async def add_adapter(self, served: EngineModel) -> None:
        """Serve an adapter of the base, in addition to it."""
        if served.adapter is None:
            raise ValueError(f"{served.name} has no adapter")
        await self.engine.load_adapter(served.adapter)
        self._models[served.name] = served

    def add_upstream(self, served: UpstreamModel) -> None:
        """Serve another server's model, in addition to those here."""
        self._models[served.name] = served
        self._upstreams.append(served.upstream)

    async def replace_base(self, served: EngineModel, alias: str | None = None) -> None:
        """Replace the base by full weights. The old base and its adapters are no longer served.

        `alias` then stands for the new model. Raises ConflictError if another alias would lose its
        model, RequestError if the weights don't fit; then the old ones stay.
        """
        for other, means in self.aliases().items():
            if other != alias and isinstance(means, EngineModel):
                raise ConflictError(
                    f"{served.name} would take the place of {means.name}, which is {other}: "
                    "promote it instead"
                )
        async with self.leases.alone():
            await self._replace_base(served)
            if alias is not None:
                self.point(alias, served)

    async def _replace_base(self, served: EngineModel) -> None:
        await self.engine.load_weights(str(served.files.directory), served.weights_version)
        upstreams = {}
        for other in self.all():
            if isinstance(other, UpstreamModel):
                upstreams[other.name] = other
            elif other.adapter is not None:
                await self.engine.unload_adapter(other.adapter.name)
        self._models = {served.name: served, **upstreams}

    async def remove(self, name: str) -> None:
        """Stop serving an adapter; stop serving an upstream for new requests.

        Raises NotFoundError if the name belongs to neither.
        """
        served, _ = self.find(name)
        if served is self.default or (isinstance(served, EngineModel) and served.adapter is None):
            raise NotFoundError(f"{name!r} is the base model; it can't be unloaded", param="model")
        if aliases := [alias for alias, means in self._aliases.items() if means == served.name]:
            raise ConflictError(f"{served.name} is {', '.join(aliases)}", param="model")
        del self._models[served.name]
        if isinstance(served, EngineModel) and served.adapter is not None:
            await self.engine.unload_adapter(served.adapter.name)

    async def healthy(self) -> bool:
        """Whether the engine, if there is one, can take a request."""
        return self._engine is None or await self._engine.healthy()

    def compiles(self) -> bool:
        """Whether the engine, if there is one, compiles constraints fast enough."""
        return self._engine is None or self._engine.compiles()

    async def close(self) -> None:
        """End the engine, and close the connections to upstreams."""
        for upstream in self._upstreams:
            await upstream.close()
        if self._engine is not None:
            await self._engine.close()
