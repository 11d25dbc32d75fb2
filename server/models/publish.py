"""Serving a card: from a name in the registry to a model that answers."""

from __future__ import annotations

import asyncio
import logging

from agentlm.agent.upstream import Upstream
from agentlm.engine.protocol import Adapter
from agentlm.errors import AgentLMError, OperatorError, RequestError
from agentlm.jobs.job import all_jobs
from agentlm.models.cards import ModelCard
from agentlm.models.registry import ModelFiles, Registry, card_template
from agentlm.prompt.render import Renderer
from agentlm.server.models.served import AnyServed, Served, ServedUpstream
from agentlm.server.state import ServerState

log = logging.getLogger("agentlm.server")


def served_from(files: ModelFiles, name: str | None = None) -> Served:
    """A model whose files are at hand, ready to be rendered for. Raises OperatorError."""
    card = files.card
    renderer = Renderer.load(
        files.directory,
        card_template(card, files.directory),
        system_prompt=card.system_prompt,
        system=card.system,
        thoughts=card.thoughts,
    )
    adapter = None
    if files.adapter is not None:
        # The version is in the name: an engine caches prefixes by it.
        adapter = Adapter(name=f"{card.name}@{card.weights_version}", path=str(files.adapter))
    return Served(name or card.name, files, renderer, adapter)


def served_upstream(card: ModelCard, timeout_s: float, name: str | None = None) -> ServedUpstream:
    """A model that another server runs. Raises OperatorError if its key is not set."""
    return ServedUpstream(name or card.name, card, Upstream.of(card, timeout_s=timeout_s))


def base_of(files: ModelFiles, name: str | None = None) -> Served:
    """The model that the engine runs for a card: the one that an adapter changes, or itself."""
    if files.base is None:
        return served_from(files, name)
    return served_from(ModelFiles(files.base, files.directory))


async def publish(name: str, state: ServerState) -> AnyServed:
    """Serve a registered card: adapters and upstreams beside the base, full weights in its place.

    An alias serves the card that it points to, and means that from now on. Publishing what is
    served already changes nothing. Raises RequestError if the card is unknown or does not fit what
    runs.
    """
    card = state.registry.get(name)
    alias = name if name in state.registry.aliases.list() else None
    if card.source == "upstream":
        upstream = _publish_upstream(card, state)
        if alias is not None:
            state.models.point(alias, upstream)
        return upstream
    files = await asyncio.to_thread(state.registry.resolve, card)
    served = next((one for one in state.models.all() if one.card == files.card), None)
    if served is None:
        served = served_from(files)
        if served.adapter is None:
            await state.models.replace_base(served, alias)
            return served
        _check_base(files, state.models.base.card)
        await state.models.add_adapter(served)
    if alias is not None:
        state.models.point(alias, served)
    return served


def _publish_upstream(card: ModelCard, state: ServerState) -> AnyServed:
    known = next((one for one in state.models.all() if one.card == card), None)
    if known is not None:
        return known
    try:
        served = served_upstream(card, state.settings.upstream_timeout_s)
    except OperatorError as error:
        raise RequestError(str(error), param="name") from error
    state.models.add_upstream(served)
    return served


async def publish_known(state: ServerState) -> None:
    """Serve what the server was started with: its model if that is an adapter, results of jobs, and
    what aliases point to.

    Upstreams, and adapters of the base: the weights that the operator named are not replaced.
    """
    await _publish_own(state)
    made = [job.state.fine_tuned_model for job in all_jobs(state.settings.data_dir)]
    for name in (*filter(None, made), *state.registry.aliases.list()):
        try:
            card = state.registry.get(name)
            beside = card.adapter is not None or card.source == "upstream"
            if beside or card.name == state.models.default.card.name:
                await publish(name, state)
        except AgentLMError as error:
            log.warning("%s is not served: %s", name, error)


async def _publish_own(state: ServerState) -> None:
    asked, name = state.settings.model, state.settings.served_model_name
    if asked in {card.name for card in state.registry.list() if card.adapter is not None}:
        served = await publish(asked, state)
        if name is not None:
            state.models.point(name, served)


def _check_base(adapter: ModelFiles, base: ModelCard) -> None:
    if adapter.base is None or adapter.base.weights_version != base.weights_version:
        card = adapter.card
        raise RequestError(
            f"{card.name!r} is an adapter for {card.base!r}, but this server runs {base.name!r}",
            param="name",
        )


async def adapter_of(base: Served, name: str, path: str, registry: Registry) -> Served:
    """An adapter of the base that stands in no registry. Raises RequestError if it is none."""
    card = base.card.model_copy(
        update={"name": name, "base": base.card.name, "adapter": path, "parent": base.card.name}
    )
    try:
        files = await asyncio.to_thread(registry.adapter_files, card, base.files)
    except OperatorError as error:
        raise RequestError(str(error), param="lora_path") from error
    return served_from(files)
