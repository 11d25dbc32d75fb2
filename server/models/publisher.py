"""Publish a model in a running server: from a name in the registry to a model that answers.

The client side, which asks a running server to do so, is `agentlm.models.publish`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from agentlm.errors import AgentLMError, ConflictError, OperatorError, RequestError
from agentlm.jobs.job import all_jobs
from agentlm.models.aliases import Promotion
from agentlm.models.cards import ModelCard
from agentlm.models.registry import ModelFiles, Registry
from agentlm.server.models.engine_model import EngineModel, load_engine_model
from agentlm.server.models.served import ServedModel, ServedModels
from agentlm.server.models.upstream_model import connect_upstream
from agentlm.server.settings import ServeSettings

log = logging.getLogger("agentlm.server")


@dataclass(frozen=True)
class Publisher:
    """Serves cards of the registry. There is one for the life of the server."""

    settings: ServeSettings
    models: ServedModels
    registry: Registry
    _promoting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while one model comes or goes: another would be checked against what is about to go."""

    async def publish(self, name: str) -> ServedModel:
        """Serve a registered card. Adapters and upstreams are added to the base; full weights
        replace it.

        An alias serves the card that it points to now, and stands for it from now on. Publishing a
        served model changes nothing. Raises RequestError if the card is unknown or does not fit the
        running model.
        """
        async with self._changing:
            return await self._publish(name)

    async def _publish(self, name: str) -> ServedModel:
        card = self.registry.get(name)
        alias = name if name in self.registry.aliases.list() else None
        if card.source == "upstream":
            served = self._upstream(card)
        else:
            files = await self._files(card)
            served = self._served(files.card) or await self._add(files, alias)
        if alias is not None:
            self.models.point(alias, served)
        return served

    async def promote(self, alias: str, decide: Callable[[], Promotion]) -> ServedModel:
        """Point an alias to the model that `decide` returns, in history and traffic, or in
        neither."""
        async with self._promoting:
            promotion = await asyncio.to_thread(decide)
            await asyncio.to_thread(self.registry.aliases.add, alias, promotion)
            try:
                return await self.publish(alias)
            except BaseException:
                await asyncio.to_thread(self.registry.aliases.undo, alias)
                raise

    async def publish_known(self) -> None:
        """Serve the models known at the start: the configured model if it is an adapter, results of
        jobs, and the models of aliases.

        This serves only upstreams and adapters of the base: the weights that the operator named are
        not replaced.
        """
        await self._publish_own()
        made = [job.state.fine_tuned_model for job in all_jobs(self.settings.data_dir)]
        for name in (*filter(None, made), *self.registry.aliases.list()):
            try:
                card = self.registry.get(name)
                beside = card.adapter is not None or card.source == "upstream"
                if beside or card.name == self.models.default.card.name:
                    await self.publish(name)
            except AgentLMError as error:
                log.warning("%s is not served: %s", name, error)

    async def add_adapter(self, name: str, path: str) -> None:
        """Serve an adapter of the base that stands in no registry, under a name that is free.

        Raises ConflictError if it is not, RequestError if there is no such adapter.
        """
        async with self._changing:
            taken = {served.name for served in self.models.all()} | self.models.aliases().keys()
            if name in taken:
                raise ConflictError(f"{name!r} is served already", param="lora_name")
            await self.models.add_adapter(await self._adapter_of(self.models.base, name, path))

    async def remove(self, name: str) -> None:
        """Serve an adapter or an upstream no more. Raises NotFoundError if the name is neither's,
        ConflictError if an alias means it."""
        async with self._changing:
            await self.models.remove(name)

    async def _adapter_of(self, base: EngineModel, name: str, path: str) -> EngineModel:
        changes = {"name": name, "base": base.card.name, "adapter": path, "parent": base.card.name}
        card = base.card.model_copy(update=changes)
        try:
            files = await asyncio.to_thread(self.registry.adapter_files, card, base.files)
        except OperatorError as error:
            raise RequestError(str(error), param="lora_path") from error
        return load_engine_model(files, self.models.engine)

    async def _files(self, card: ModelCard) -> ModelFiles:
        """Raises RequestError if they are unavailable: the hub may not have a model of this
        name."""
        try:
            return await asyncio.to_thread(self.registry.resolve, card)
        except OperatorError as error:
            raise RequestError(str(error), param="name") from error

    def _served(self, card: ModelCard) -> ServedModel | None:
        return next((one for one in self.models.all() if one.card == card), None)

    async def _add(self, files: ModelFiles, alias: str | None) -> EngineModel:
        served = load_engine_model(files, self.models.engine)
        if served.adapter is None:
            await self.models.replace_base(served, alias)
        else:
            _check_base(files, self.models.base.card)
            await self.models.add_adapter(served)
        return served

    def _upstream(self, card: ModelCard) -> ServedModel:
        known = self._served(card)
        if known is not None:
            return known
        try:
            served = connect_upstream(card, self.settings.upstream_timeout_s)
        except OperatorError as error:
            raise RequestError(str(error), param="name") from error
        self.models.add_upstream(served)
        return served

    async def _publish_own(self) -> None:
        configured, name = self.settings.model, self.settings.served_model_name
        if configured in {card.name for card in self.registry.list() if card.adapter is not None}:
            served = await self.publish(configured)
            if name is not None:
                self.models.point(name, served)


def _check_base(adapter: ModelFiles, base: ModelCard) -> None:
    if adapter.base is None or adapter.base.weights_version != base.weights_version:
        card = adapter.card
        raise RequestError(
            f"{card.name!r} is an adapter for {card.base!r}, but this server runs {base.name!r}",
            param="name",
        )
