"""`agentlm models promote | rollback`: the alias that traffic uses, flipped or flipped back."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import CliPositionalArg

from agentlm.errors import OperatorError
from agentlm.models.aliases import Aliases, Promotion, Verdict
from agentlm.models.cards import ModelCard
from agentlm.models.publish import publish
from agentlm.models.registry import ALIAS, Registry
from agentlm.printable import say
from agentlm.settings import Settings


class RollBack(Settings):
    """Point an alias to the model that had it before."""

    alias: str = Field(default="production", pattern=ALIAS)
    """The name that traffic uses."""
    publish: str | None = None
    """URL of a running server that is to switch at once."""
    api_key: str | None = None
    """Key for that server."""


class Promote(RollBack):
    """Point an alias, the name that traffic uses, to a model that the gate has passed.

    agentlm models promote tiny-ft2 --publish http://localhost:8000
    """

    name: CliPositionalArg[str]
    """A registered model."""
    force: str | None = Field(default=None, min_length=1)
    """Promote it although the gate did not pass it; the text says why and is kept."""


def promote(settings: Promote) -> int:
    """Flip the alias, if the gate has passed the model."""
    registry = Registry(settings.data_dir)
    card = registry.get(settings.name)
    names = {known.name for known in registry.list()}
    if card.name not in names:
        raise OperatorError(f"{card.name} is not registered: agentlm models add gives it a name")
    if settings.alias in names:
        raise OperatorError(f"{settings.alias} is a model: choose another --alias")
    incumbent = registry.aliases.card(settings.alias)
    if incumbent == card.name:
        raise OperatorError(f"{settings.alias} points to {card.name} already")
    verdict = _verdict(card)
    complaints = _complaints(card, verdict, incumbent)
    if complaints and settings.force is None:
        lines = [f"{card.name} is not promoted:", *(f"  {line}" for line in complaints)]
        raise OperatorError("\n".join(lines))
    forced = settings.force if complaints else None
    _flip(settings, Promotion(card=card.name, verdict=verdict, forced=forced))
    return 0


def roll_back(settings: RollBack) -> int:
    """Flip the alias back."""
    card = Aliases(settings.data_dir).before(settings.alias)
    if card not in {known.name for known in Registry(settings.data_dir).list()}:
        raise OperatorError(
            f"{settings.alias} can't go back to {card}, which was removed: agentlm models add "
            "gives it its name again"
        )
    _flip(settings, Promotion(card=card, rollback=True))
    return 0


def _flip(settings: RollBack, promotion: Promotion) -> None:
    """Point the alias to a card, here and on the server, or neither."""
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


def _verdict(card: ModelCard) -> Verdict | None:
    """What the gate said of the model; None: it was not asked."""
    path = Path((card.training or {}).get("run", "")) / "gate.json"
    if not card.training or not path.is_file():
        return None
    try:
        return Verdict.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise OperatorError(f"the gate's verdict {path} can't be read: {error}") from error


def _complaints(card: ModelCard, verdict: Verdict | None, incumbent: str | None) -> list[str]:
    """Why a model may not have an alias."""
    if incumbent is None and card.parent is None:
        return []  # where a line of successors begins, there is nothing to be worse than
    if verdict is None:
        return [
            "the gate has not measured it: agentlm finetune --gate does, or give --force REASON"
        ]
    complaints = [f"the gate: {reason}" for reason in verdict.reasons]
    if incumbent is not None and verdict.incumbent != incumbent:
        complaints.append(f"it was measured beside {verdict.incumbent}, not beside {incumbent}")
    return complaints
