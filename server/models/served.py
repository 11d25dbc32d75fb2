"""The models that a running server answers for, by the names that clients use."""

from __future__ import annotations

from dataclasses import dataclass

from agentlm.agent.upstream import Upstream
from agentlm.engine.protocol import Adapter, Engine
from agentlm.errors import ConflictError, NotFoundError, RequestError
from agentlm.models.cards import ModelCard
from agentlm.models.registry import ModelFiles
from agentlm.prompt.render import Renderer
from agentlm.server.models.leases import Leases

AGENT_SUFFIX = ":agent"
"""`NAME:agent` is NAME with all of the server's tools, for clients that can set nothing else."""


@dataclass(frozen=True)
class Served:
    """One model as it is served by the engine."""

    name: str
    files: ModelFiles
    renderer: Renderer
    adapter: Adapter | None = None
    """None: the engine's own weights."""

    @property
    def card(self) -> ModelCard:
        """Its card, with the digests of its files."""
        return self.files.card

    @property
    def weights_version(self) -> str:
        """Digest of all that makes it answer as it does."""
        return self.card.weights_version or ""


@dataclass(frozen=True)
class ServedUpstream:
    """One model that another server runs."""

    name: str
    card: ModelCard
    upstream: Upstream


AnyServed = Served | ServedUpstream


class ServedModels:
    """Names to models. The first one added is the base that the engine runs, if there is one."""

    def __init__(self, engine: Engine | None, first: AnyServed, drain_s: float = 30) -> None:
        self.leases = Leases(drain_s)
        self._engine = engine
        self._models: dict[str, AnyServed] = {first.name: first}
        self._aliases: dict[str, str] = {}
        self._upstreams = [first.upstream] if isinstance(first, ServedUpstream) else []

    @property
    def engine(self) -> Engine:
        """What runs the base. Raises RequestError on a server that has upstreams only."""
        if self._engine is None:
            raise RequestError("this server runs no model itself: it only asks upstreams")
        return self._engine

    @property
    def base(self) -> Served:
        """The model whose weights the engine runs. Raises RequestError if there is none."""
        first = next(iter(self._models.values()))
        return self._own(first)

    @property
    def default(self) -> AnyServed:
        """What a request means that names no model."""
        return next(iter(self._models.values()))

    def all(self) -> list[AnyServed]:
        """Every served model, the base first."""
        return list(self._models.values())

    def find(self, name: str) -> tuple[AnyServed, bool]:
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

    def find_own(self, name: str | None) -> Served:
        """A model that the engine runs, by default the base. Raises RequestError for another's."""
        return self.base if name is None else self._own(self.find(name)[0])

    def _own(self, served: AnyServed) -> Served:
        if isinstance(served, ServedUpstream):
            raise RequestError(
                f"{served.name!r} runs on another server, which does not tell its tokens",
                param="model",
            )
        return served

    def aliases(self) -> dict[str, AnyServed]:
        """Further names, each of a served model."""
        return {alias: self._models[name] for alias, name in self._aliases.items()}

    def point(self, alias: str, served: AnyServed) -> None:
        """Let a further name mean a served model, from the next request on."""
        self._aliases[alias] = served.name

    async def add_adapter(self, served: Served) -> None:
        """Serve an adapter of the base beside it."""
        if served.adapter is None:
            raise ValueError(f"{served.name} has no adapter")
        await self.engine.load_adapter(served.adapter)
        self._models[served.name] = served

    def add_upstream(self, served: ServedUpstream) -> None:
        """Serve another server's model beside what is served here."""
        self._models[served.name] = served
        self._upstreams.append(served.upstream)

    async def replace_base(self, served: Served, alias: str | None = None) -> None:
        """Put full weights in the base's place; the base and its adapters are served no more.

        `alias` then means the new ones. Raises ConflictError if another one would mean nothing,
        RequestError if the weights don't fit; the old ones then stay.
        """
        for other, means in self.aliases().items():
            if other != alias and isinstance(means, Served):
                raise ConflictError(
                    f"{served.name} would take the place of {means.name}, which is {other}: "
                    "promote it instead"
                )
        async with self.leases.alone():
            await self._replace_base(served)
            if alias is not None:
                self.point(alias, served)

    async def _replace_base(self, served: Served) -> None:
        await self.engine.load_weights(str(served.files.directory), served.weights_version)
        upstreams = {}
        for other in self.all():
            if isinstance(other, ServedUpstream):
                upstreams[other.name] = other
            elif other.adapter is not None:
                await self.engine.unload_adapter(other.adapter.name)
        self._models = {served.name: served, **upstreams}

    async def remove(self, name: str) -> None:
        """Stop serving an adapter, or an upstream for requests that come from now on.

        Raises NotFoundError if the name is neither's.
        """
        served, _ = self.find(name)
        if served is self.default or (isinstance(served, Served) and served.adapter is None):
            raise NotFoundError(f"{name!r} is the base model; it can't be unloaded", param="model")
        if meant := [alias for alias, means in self._aliases.items() if means == served.name]:
            raise ConflictError(f"{served.name} is {', '.join(meant)}", param="model")
        del self._models[served.name]
        if isinstance(served, Served) and served.adapter is not None:
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
