"""`agentlm models gate`: a model measured beside the one that it came from."""

from __future__ import annotations

from pydantic_settings import CliPositionalArg

from agentlm.finetune.gate import GateRule, check_gated, gate
from agentlm.models.publish import publish
from agentlm.models.registry import Registry


class GateModel(GateRule):
    """Measure a trained model beside the one that it came from, and say whether it is fit to be
    promoted, as `agentlm finetune --gate` does.

    agentlm models gate tiny-ft2 --url http://localhost:8000

    Exit code 1 if the rule does not hold. The same command goes on after an interruption.
    """

    name: CliPositionalArg[str]
    """A model that was trained here."""
    url: str = "http://127.0.0.1:8000"
    """A running server that serves the model it came from; it serves the new one too then."""
    api_key: str | None = None
    """Key for that server."""


def gate_model(settings: GateModel) -> int:
    """Have it served and measured; the exit code."""
    card = Registry(settings.data_dir).get(settings.name)
    check_gated(card, settings)
    publish(settings.url, settings.api_key, card.name)
    return 0 if gate(settings, card, settings.url, settings.api_key).passed else 1
