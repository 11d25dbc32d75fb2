"""The models that a running server answers for, by the names that clients use.

A `ServedModel` is whatever can answer: `engine_model` in token ids, `upstream_model` in messages.
Nothing outside this folder asks which of them it has.
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
"""`NAME:agent` is NAME with all of the server's tools, for clients that can set nothing else."""


class ServedModel(Protocol):
    """One model as it is served, whatever runs it."""

    @property
    def name(self) -> str:
        """What clients call it."""
        ...

    @property
    def card(self) -> ModelCard:
        """What is known of it."""
        ...

    @property
    def owned_by(self) -> str:
        """Who runs it, as `/v1/models` says it."""
        ...

    @property
    def root(self) -> str:
        """What it is where it comes from."""
        ...

    @property
    def adapter(self) -> Adapter | None:
        """What changes the engine's own weights."""
        ...

    @property
    def weights_version(self) -> str | None:
        """Digest of all that makes it answer as it does; None: nobody tells."""
        ...

    @property
    def max_model_len(self) -> int | None:
        """Tokens that its context holds; None: nobody tells."""
        ...

    def check(self, request: ChatRequest) -> None:
        """Raises RequestError for what this model can't do."""
        ...

    def with_template(self, settings: Settings) -> ServedModel:
        """The same model with this set of its chat template. Raises RequestError."""
        ...

    def bounds(self, limits: Limits) -> Limits:
        """The limits of a run, as far as they concern this model."""
        ...

    def passed_on(self, request: ChatRequest) -> dict[str, Any]:
        """Fields of a request that only who runs the model reads."""
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
        """What writes the turns of a run; `on_tokens` is called with the answer's tokens."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """How a token is spelt. Raises RequestError if nobody tells."""
        ...


class ServedModels:
    """Names to models. The first one added is the base that the engine runs, if there is one."""

    def __init__(self, first: ServedModel, drain_s: float = 30) -> None:
        self.leases = Leases(drain_s)
        self._engine = first.engine if isinstance(first, EngineModel) else None
        self._models: dict[str, ServedModel] = {first.name: first}
        self._aliases: dict[str, str] = {}
        self._upstreams = [first.upstream] if isinstance(first, UpstreamModel) else []

    @property
    def engine(self) -> Engine:
        """What runs the base. Raises RequestError on a server that has upstreams only."""
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
        """What a request means that names no model."""
        return next(iter(self._models.values()))

    def all(self) -> list[ServedModel]:
        """Every served model, the base first."""
        return list(self._models.values())

    def find(self, name: str) -> tuple[ServedModel, bool]:
        """The model, and whether its agent form was asked for. Raises NotFoundError."""
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
        """A model that the engine runs, by default the base. Raises RequestError for another's."""
        return self.base if name is None else self._own(self.find(name)[0])

    def _own(self, served: ServedModel) -> EngineModel:
        if not isinstance(served, EngineModel):
            raise RequestError(
                f"{served.name!r} runs on another server, which does not tell its tokens",
                param="model",
            )
        return served

    def aliases(self) -> dict[str, ServedModel]:
        """Further names, each of a served model."""
        return {alias: self._models[name] for alias, name in self._aliases.items()}

    def point(self, alias: str, served: ServedModel) -> None:
        """Let a further name mean a served model, from the next request on."""
        self._aliases[alias] = served.name

    async def add_adapter(self, served: EngineModel) -> None:
        """Serve an adapter of the base beside it."""
        if served.adapter is None:
            raise ValueError(f"{served.name} has no adapter")
        await self.engine.load_adapter(served.adapter)
        self._models[served.name] = served

    def add_upstream(self, served: UpstreamModel) -> None:
        """Serve another server's model beside what is served here."""
        self._models[served.name] = served
        self._upstreams.append(served.upstream)

    async def replace_base(self, served: EngineModel, alias: str | None = None) -> None:
        """Put full weights in the base's place; the base and its adapters are served no more.

        `alias` then means the new ones. Raises ConflictError if another one would mean nothing,
        RequestError if the weights don't fit; the old ones then stay.
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
        """Stop serving an adapter, or an upstream for requests that come from now on.

        Raises NotFoundError if the name is neither's.
        """
        served, _ = self.find(name)
        if served is self.default or (isinstance(served, EngineModel) and served.adapter is None):
            raise NotFoundError(f"{name!r} is the base model; it can't be unloaded", param="model")
        if meant := [alias for alias, means in self._aliases.items() if means == served.name]:
            raise ConflictError(f"{served.name} is {', '.join(meant)}", param="model")
        del self._models[served.name]
        if isinstance(served, EngineModel) and served.adapter is not None:
            await self.engine.unload_adapter(served.adapter.name)

    async def healthy(self) -> bool:
        """Whether the engine, if there is one, can take a request."""
        return self._engine is None or await self._engine.healthy()

    def compiles(self) -> bool:
        """Whether the engine, if there is one, compiles what decoding is held to."""
        return self._engine is None or self._engine.compiles()

    async def close(self) -> None:
        """End the engine, and the connections to upstreams."""
        for upstream in self._upstreams:
            await upstream.close()
        if self._engine is not None:
            await self._engine.close()
