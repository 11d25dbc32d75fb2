"""Serving a card: from a name in the registry to a model that answers."""

from __future__ import annotations

import asyncio

from agentlm.engine import Adapter
from agentlm.errors import OperatorError, RequestError
from agentlm.registry import ModelFiles, Registry, card_template
from agentlm.render import Renderer
from agentlm.server.served import Served
from agentlm.server.state import ServerState


def served_from(files: ModelFiles, name: str | None = None) -> Served:
    """A model whose files are at hand, ready to be rendered for. Raises OperatorError."""
    card = files.card
    renderer = Renderer.load(
        files.directory,
        card_template(card, files.directory),
        system_prompt=card.system_prompt,
        system=card.system,
    )
    adapter = None
    if files.adapter is not None:
        # The version is in the name: an engine caches prefixes by it.
        adapter = Adapter(name=f"{card.name}@{card.weights_version}", path=str(files.adapter))
    return Served(name or card.name, files, renderer, adapter)


async def publish(name: str, state: ServerState) -> Served:
    """Serve a registered card: an adapter beside the base, full weights in the base's place.

    Publishing what is served already changes nothing. Raises RequestError if the card is unknown
    or does not fit what runs.
    """
    card = state.registry.get(name)
    files = await asyncio.to_thread(state.registry.resolve, card)
    for served in state.models.all():
        if served.card == files.card:
            return served
    served = served_from(files)
    if served.adapter is None:
        await state.models.replace_base(served)
        return served
    base = state.models.base.card
    if files.base is None or files.base.weights_version != base.weights_version:
        raise RequestError(
            f"{name!r} is an adapter for {card.base!r}, but this server runs {base.name!r}",
            param="name",
        )
    await state.models.add_adapter(served)
    return served


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
