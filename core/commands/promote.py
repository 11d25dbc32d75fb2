"""`agentlm models promote | rollback`: point the alias that traffic uses to another model, or
back."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import CliPositionalArg

from agentlm.errors import OperatorError
from agentlm.models.aliases import Aliases, Promotion
from agentlm.models.promotion import promotion_of, rollback_of
from agentlm.models.publish import publish
from agentlm.models.registry import ALIAS, Registry
from agentlm.printable import say
from agentlm.settings import Settings


class AliasSettings(Settings):
    """The alias, and a running server that has it."""

    alias: str = Field(default="production", pattern=ALIAS)
    """The name that traffic uses."""
    publish: str | None = None
    """URL of a running server that is to switch at once."""
    api_key: str | None = None
    """Key for that server."""


class RollBack(AliasSettings):
    """Point an alias to the model that had it before."""


class Promote(AliasSettings):
    """Point an alias, the name that traffic uses, to a model that the gate has passed.

    agentlm models promote tiny-ft2 --publish http://localhost:8000
    """

    name: CliPositionalArg[str]
    """A registered model."""
    force: str | None = Field(default=None, min_length=1)
    """Promote it although the gate did not pass it; the text says why and is kept."""


def promote(settings: Promote) -> int:
    """If the alias points there already, only publish it again."""
    registry = Registry(settings.data_dir)
    if registry.aliases.card(settings.alias) == registry.get(settings.name).name:
        if settings.publish is not None:
            publish(settings.publish, settings.api_key, settings.alias)
        say(f"{settings.alias} is {settings.name} already")
        return 0
    _flip(settings, promotion_of(registry, settings.alias, settings.name, settings.force))
    return 0


def roll_back(settings: RollBack) -> int:
    _flip(settings, rollback_of(Registry(settings.data_dir), settings.alias))
    return 0


def _flip(settings: AliasSettings, promotion: Promotion) -> None:
    """Point the alias to a card, both here and on the server; if one fails, neither changes."""
    aliases = Aliases(settings.data_dir)
    before = aliases.card(settings.alias)
    aliases.add(settings.alias, promotion)
    if settings.publish is not None:
        try:
            publish(settings.publish, settings.api_key, settings.alias)
        except OperatorError:
            aliases.undo(settings.alias)
            raise
    was = f", before {before}" if before else ""
    say(f"{settings.alias} is now {promotion.card}{was}")
