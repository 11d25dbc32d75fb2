"""General ability of every contender, measured once and kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from agentlm.environments.evaluation.contenders import Contender, contenders
from agentlm.environments.evaluation.general_ability.probe import Ability, Probe
from agentlm.environments.evaluation.kept import kept_file
from agentlm.environments.evaluation.settings import EvalSettings
from agentlm.environments.playing.model_player import client_of, played_model
from agentlm.files import write_text


async def abilities(settings: EvalSettings) -> list[Ability]:
    """Measure by measure, the base before the candidate."""
    measured: list[Ability] = []
    for contender in contenders(settings) if settings.general else ():
        measured += await _abilities_of(settings, contender)
    return sorted(measured, key=lambda ability: settings.general.index(ability.measure))


async def _abilities_of(settings: EvalSettings, contender: Contender) -> list[Ability]:
    cases = settings.cases or settings.limit
    async with client_of(contender.url, settings.api_key) as client:
        model = await played_model(client, contender.name)
        probe = Probe(
            client,
            contender.name,
            limit=cases,
            seed=settings.seed,
            concurrency=settings.concurrency,
        )
        measured = []
        for measure in settings.general:
            plan = {
                "measure": measure,
                "cases": cases,
                "seed": settings.seed,
                "model": model.model_dump(),
            }
            file = kept_file(settings, f"{measure}-{contender.name}", plan)
            ability = None if settings.fresh else _kept(file)
            if ability is None:
                ability = await probe.measure(measure)
                if ability.skipped is None:
                    write_text(file, ability.model_dump_json() + "\n")
            measured.append(ability.model_copy(update={"model": contender.label}))
        return measured


def _kept(file: Path) -> Ability | None:
    try:
        return Ability.model_validate_json(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
