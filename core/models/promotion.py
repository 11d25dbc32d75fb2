"""Whether an alias may move to a model: the gate's verdict, and everything against it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from agentlm.errors import OperatorError
from agentlm.models.aliases import Promotion, Verdict
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry


def promotion_of(registry: Registry, alias: str, name: str, force: str | None) -> Promotion:
    """The promotion of a registered model. Raises OperatorError with every reason against it.

    `force` is the reason for promoting a model that did not pass the gate.
    """
    card = registry.get(name)
    names = {known.name for known in registry.list()}
    if card.name not in names:
        raise OperatorError(f"{card.name} is not registered: agentlm models add gives it a name")
    if alias in names:
        raise OperatorError(f"{alias} is a model: choose another --alias")
    incumbent = registry.aliases.card(alias)
    if incumbent == card.name:
        raise OperatorError(f"{alias} points to {card.name} already")
    verdict = verdict_of(card)
    complaints = _complaints(card, verdict, incumbent)
    if complaints and force is None:
        lines = [f"{card.name} is not promoted:", *(f"  {line}" for line in complaints)]
        raise OperatorError("\n".join(lines))
    return Promotion(card=card.name, verdict=verdict, forced=force if complaints else None)


def rollback_of(registry: Registry, alias: str) -> Promotion:
    """The promotion of the previous model. Raises OperatorError if there is none."""
    card = registry.aliases.before(alias)
    if card not in {known.name for known in registry.list()}:
        raise OperatorError(
            f"{alias} can't go back to {card}, which was removed: agentlm models add gives it its "
            "name again"
        )
    return Promotion(card=card, rollback=True)


def verdict_of(card: ModelCard) -> Verdict | None:
    """The gate's verdict on a model; None: it did not go through the gate. Raises OperatorError."""
    run = (card.training or {}).get("run")
    if run is None or not (path := Path(run) / "gate.json").is_file():
        return None
    return read_verdict(path)


def read_verdict(path: Path) -> Verdict:
    """What the gate has written. Raises OperatorError if it can't be read."""
    try:
        return Verdict.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise OperatorError(f"the gate's verdict {path} can't be read: {error}") from error


def _complaints(card: ModelCard, verdict: Verdict | None, incumbent: str | None) -> list[str]:
    """Reasons why a model may not get an alias."""
    if incumbent is None and card.parent is None:
        return []  # the first model of a line has nothing to be worse than
    if verdict is None:
        return [
            "the gate has not measured it: agentlm finetune --gate does, or give --force REASON"
        ]
    complaints = [f"the gate: {reason}" for reason in verdict.reasons]
    if incumbent is not None and verdict.incumbent != incumbent:
        complaints.append(f"it was measured beside {verdict.incumbent}, not beside {incumbent}")
    return complaints
