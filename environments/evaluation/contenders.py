"""Who is measured: the candidate, and the base beside it."""

from __future__ import annotations

from dataclasses import dataclass

from agentlm.environments.evaluation.settings import EvalSettings
from agentlm.environments.playing.model_player import without_password
from agentlm.errors import OperatorError


@dataclass(frozen=True)
class Contender:
    """A model on a server. Two may have the same name, on two servers."""

    name: str
    url: str
    label: str
    """Its name in the report."""


def contenders(settings: EvalSettings) -> list[Contender]:
    """The base, if there is one, then the candidate.

    Raises OperatorError if they are the same.
    """
    candidate = (settings.model, settings.url)
    if settings.base is None:
        if settings.base_url is not None:
            raise OperatorError("--base-url is given without --base, the model to measure there")
        return [Contender(*candidate, label=settings.model)]
    base = (settings.base, settings.base_url or settings.url)
    if base == candidate:
        raise OperatorError(
            f"--base and --model are both {settings.model} at one server: name another "
            "model, or its other server by --base-url"
        )
    alike = settings.base == settings.model
    return [
        Contender(name, url, label=f"{name} at {without_password(url)}" if alike else name)
        for name, url in (base, candidate)
    ]
