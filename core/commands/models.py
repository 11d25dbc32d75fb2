"""`agentlm models`: the registry on the command line."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator
from pydantic_settings import CliPositionalArg, CliToggleFlag, SettingsConfigDict
from rich.table import Table
from rich.text import Text

from agentlm.agent.upstream import checked_url
from agentlm.commands.export import ExportModel, MergeModel, export_model, merge_model
from agentlm.commands.gate import GateModel, gate_model
from agentlm.commands.promote import Promote, RollBack, promote, roll_back
from agentlm.commands.subcommands import Subcommand, dispatch
from agentlm.console import Console
from agentlm.errors import OperatorError
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from agentlm.printable import say
from agentlm.settings import Directory, Settings


class ListModels(Settings):
    """List the models that have a name here: built in, added, trained."""

    model_config = SettingsConfigDict(cli_shortcuts={"print-json": "json"})

    print_json: CliToggleFlag[bool] = False
    """Print one JSON object a line instead of a table."""


class ShowModel(Settings):
    """Show all that is known of a model."""

    model_config = SettingsConfigDict(cli_shortcuts={"print-json": "json"})

    name: CliPositionalArg[str]
    """A name from the list, a model directory, or any hub id (org/name)."""
    print_json: CliToggleFlag[bool] = False
    """Print JSON instead of a table."""


class PullModel(Settings):
    """Download or convert a model now, so that serving it starts at once."""

    name: CliPositionalArg[str]
    """A name from the list or any hub id (org/name)."""


class AddModel(Settings):
    """Give a name to a model directory, to a LoRA adapter of a known model, or to a model that
    another server with OpenAI's API runs.

    agentlm models add my-model --path ./my-model
    agentlm models add my-adapter --path ./my-adapter --base smollm2-135m
    agentlm models add teacher --upstream https://api.openai.com/v1 --model gpt-4.1 --api-key-env
    OPENAI_API_KEY
    """

    model_config = SettingsConfigDict(cli_shortcuts={"upstream-model": "model"})

    name: CliPositionalArg[str]
    """What clients will ask for as `model`."""
    path: Directory | None = None
    """A directory in transformers' format, or with --base in PEFT's."""
    upstream: Annotated[str, AfterValidator(checked_url)] | None = None
    """Base URL of the other server, up to and with /v1."""
    upstream_model: str | None = None
    """What the model is called there, if not by this name."""
    api_key_env: str | None = None
    """Environment variable of `agentlm serve` that has the key; the key itself is not stored."""
    base: str | None = None
    """The model that the adapter was trained on; its template and prompt are the adapter's too."""
    template: str | None = None
    """Chat template (chatml, llama2) to use instead of the tokenizer's own."""
    system_prompt: str | None = None
    """System text of conversations that bring none."""
    thoughts: bool = True
    """Whether the model thinks before each call and answer. Its prompt says so, and decoding
    enforces it."""


class RemoveModel(Settings):
    """Forget a name that was added or trained; the files stay."""

    name: CliPositionalArg[str]
    """A name from the list."""


def main(argv: list[str]) -> int:
    return dispatch(COMMANDS, argv, "agentlm models")


def list_models(settings: ListModels) -> int:
    registry = Registry(settings.data_dir)
    cards = registry.list()
    if settings.print_json:
        say("\n".join(card.model_dump_json() for card in cards))
        return 0
    rows: list[tuple[str, ...]] = [
        (card.name, card.source, card.location, card.parent or card.base or "") for card in cards
    ]
    rows += [(alias, "alias", card, "") for alias, card in registry.aliases.list().items()]
    _print_table(("model", "source", "location", "trained from"), rows)
    return 0


def show_model(settings: ShowModel) -> int:
    card = Registry(settings.data_dir).get(settings.name)
    if settings.print_json:
        say(card.model_dump_json(indent=2))
        return 0
    created = datetime.datetime.fromtimestamp(card.created).astimezone()
    fields = card.model_dump(exclude_none=True) | {"created": created.isoformat(" ", "seconds")}
    _print_table((), [(name, str(value)) for name, value in fields.items()])
    return 0


def pull_model(settings: PullModel) -> int:
    settings.prepare_data_dir()
    registry = Registry(settings.data_dir)
    files = registry.resolve(registry.get(settings.name))
    say(f"{files.card.name} is ready in {files.adapter or files.directory}")
    return 0


def add_model(settings: AddModel) -> int:
    settings.prepare_data_dir()
    registry = Registry(settings.data_dir)
    card = registry.add(_card(settings, registry))
    what = f"weights {card.weights_version}" if card.source != "upstream" else card.location
    say(f"{card.name} is registered, {what}; to serve it: agentlm serve --model {card.name}")
    return 0


def remove_model(settings: RemoveModel) -> int:
    Registry(settings.data_dir).remove(settings.name)
    say(f"{settings.name} is forgotten")
    return 0


COMMANDS = {
    "list": Subcommand(ListModels, list_models),
    "show": Subcommand(ShowModel, show_model),
    "pull": Subcommand(PullModel, pull_model),
    "add": Subcommand(AddModel, add_model),
    "remove": Subcommand(RemoveModel, remove_model),
    "merge": Subcommand(MergeModel, merge_model),
    "export": Subcommand(ExportModel, export_model),
    "gate": Subcommand(GateModel, gate_model),
    "promote": Subcommand(Promote, promote),
    "rollback": Subcommand(RollBack, roll_back),
}


def _card(settings: AddModel, registry: Registry) -> ModelCard:
    if (settings.path is None) == (settings.upstream is None):
        raise OperatorError("a model needs one of --path and --upstream, not both")
    if settings.upstream is not None:
        return _upstream_card(settings, settings.upstream)
    changed = settings.model_dump(
        include={"template", "system_prompt", "thoughts"} & settings.model_fields_set
    )
    fields = {"name": settings.name, "source": "local", "location": str(settings.path), **changed}
    if settings.base is None:
        return ModelCard(**fields)
    base = registry.get(settings.base)
    inherited = base.model_dump(include={"template", "system_prompt", "system", "thoughts"})
    return ModelCard(**inherited | fields, base=settings.base, adapter=str(settings.path))


def _upstream_card(settings: AddModel, url: str) -> ModelCard:
    return ModelCard(
        name=settings.name,
        source="upstream",
        location=url,
        upstream_model=settings.upstream_model,
        api_key_env=settings.api_key_env,
        system_prompt=settings.system_prompt,
    )


def _print_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(*columns, box=None, show_header=bool(columns), pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console().print(table)
