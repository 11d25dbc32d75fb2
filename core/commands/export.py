"""`agentlm models merge | export`: write a model for use elsewhere."""

from __future__ import annotations

from pydantic_settings import CliPositionalArg, SettingsConfigDict

from agentlm.models import hub
from agentlm.models.export import export, merge
from agentlm.models.registry import Registry
from agentlm.printable import say
from agentlm.settings import Directory, Settings


class MergeModel(Settings):
    """Merge an adapter into the weights that it changes: a model of its own, as fast as its base.

    agentlm models merge my-ft1 my-ft1-merged
    """

    name: CliPositionalArg[str]
    """A model that is an adapter."""
    merged: CliPositionalArg[str]
    """The name of the merged model."""


class ExportModel(Settings):
    """Write a model as a folder for others: safetensors, tokenizer, template, and a model card that
    names data, gate and licence.

    agentlm models export my-ft1 ./my-ft1
    agentlm models export my-ft1 ./my-ft1 --push org/my-ft1
    """

    model_config = SettingsConfigDict(cli_shortcuts={"licence": "license"})

    name: CliPositionalArg[str]
    """A name from the list."""
    directory: CliPositionalArg[Directory]
    """Where to write it; it must not be there."""
    licence: str | None = None
    """Its licence as the hub names it (apache-2.0, llama2, …), if the base's card does not say."""
    push: str | None = None
    """Upload the folder to the hub under this id (org/name), with the token of HF_TOKEN."""


def merge_model(settings: MergeModel) -> int:
    registry = Registry(settings.prepare_data_dir())
    files = registry.resolve(registry.get(settings.name))
    registry.check_free(settings.merged)
    target = settings.data_dir / "models" / "merged" / settings.merged
    card = merge(registry, files, settings.merged, target)
    say(f"{card.name} is registered, weights {card.weights_version}: {target}")
    return 0


def export_model(settings: ExportModel) -> int:
    registry = Registry(settings.prepare_data_dir())
    files = registry.resolve(registry.get(settings.name))
    export(registry, files, settings.directory, settings.licence)
    say(f"{settings.name} is written to {settings.directory}")
    if settings.push is not None:
        say(f"it is on the hub: {hub.upload(settings.directory, settings.push)}")
    return 0
