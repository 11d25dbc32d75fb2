"""`agentlm rollout`, once its flags are read: play tasks, leave scored trajectories in the log."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from agentlm.environments.adapters.loading import version_of
from agentlm.environments.catalogue import opened, tasks_of
from agentlm.environments.playing.curriculum import Curriculum
from agentlm.environments.playing.log_recording import EitherRecorder, StoreRecorder
from agentlm.environments.playing.model_player import PlayedModel, connected
from agentlm.environments.playing.players import EmptyPlayer, GoldPlayer, Player, RandomPlayer
from agentlm.environments.playing.progress import Progress, setting_plan
from agentlm.environments.playing.recording import NoRecorder, Recorder, ServerRecorder
from agentlm.environments.playing.rollout import tell_pending
from agentlm.environments.playing.session import (
    Seat,
    decoding_of,
    play_tasks,
    run_session,
    seated,
    texts_of,
)
from agentlm.environments.playing.settings import RolloutSettings
from agentlm.environments.task import Environment
from agentlm.errors import OperatorError
from agentlm.printable import say
from agentlm.store import LOCAL_OWNER, Store

_ENDLESS = 10**9
"""Tasks that a curriculum may look at."""


def run(settings: RolloutSettings) -> int:
    """Play; returns the exit code."""
    return run_session(settings, _run)


async def _run(settings: RolloutSettings) -> int:
    async with opened(
        settings.env,
        concurrency=settings.concurrency,
        data_dir=settings.data_dir,
        scoring=settings.scoring,
        known=settings.known,
    ) as environment:
        return await _play(settings, environment)


async def _play(settings: RolloutSettings, environment: Environment) -> int:
    count = settings.limit if not settings.curriculum else _ENDLESS
    tasks = tasks_of(environment, settings.split, settings.seed, count, settings.tasks)
    async with _seated(settings, environment) as (player, recorder, model):
        plan = _plan(settings, model)
        with closing(Progress(_path(settings), plan, fresh=settings.fresh)) as progress:
            if kept := progress.kept():
                print(kept, file=sys.stderr)
                if model is not None and model.caution:
                    say(model.caution, sys.stderr)
            seat = Seat(environment, player, recorder, progress)
            await tell_pending(recorder, progress)
            known = progress.results()
            if settings.curriculum:
                tasks = Curriculum(tasks, settings.limit, settings.seed, known)
            display = await play_tasks(settings, seat, tasks, known, settings.limit)
    print(f"{display.summary()}; {display.tokens:,} tokens; results: {progress.path}")
    return 1 if display.errors else 0


@asynccontextmanager
async def _seated(
    settings: RolloutSettings, environment: Environment
) -> AsyncIterator[tuple[Player, Recorder, PlayedModel | None]]:
    """The player, where its runs are kept, and which model it is; open."""
    match settings.player:
        case "empty":
            yield EmptyPlayer(), NoRecorder(), None
        case "random":
            yield RandomPlayer(settings.seed), NoRecorder(), None
        case "gold":
            async with _log(settings, environment, "gold") as recorder:
                yield GoldPlayer(), recorder, None
        case "model":
            if settings.model is None:
                raise OperatorError("--model is required: the name of the model to play")
            metadata = _metadata(settings)
            decoding = decoding_of(settings, False if settings.unconstrained else None)
            async with (
                connected(
                    settings.url,
                    settings.model,
                    decoding,
                    api_key=settings.api_key,
                    metadata=metadata,
                ) as player,
                _log(settings, environment, settings.model) as recorder,
            ):
                either = EitherRecorder(ServerRecorder(player), recorder)
                yield seated(settings, player, environment), either, player.model


@asynccontextmanager
async def _log(
    settings: RolloutSettings, environment: Environment, model: str
) -> AsyncIterator[StoreRecorder]:
    with closing(Store.open(settings.log_url())) as store:
        yield StoreRecorder(
            store,
            environment,
            model=model,
            owner=LOCAL_OWNER,
            metadata=_metadata(settings),
            grammar=texts_of(settings, environment),
        )


def _metadata(settings: RolloutSettings) -> dict[str, str]:
    return {**settings.tags, "player": settings.player, "rollout": _name(settings)}


def _plan(settings: RolloutSettings, model: PlayedModel | None) -> dict[str, object]:
    """What a continued rollout must agree on; its size may change.

    What a method asks for stands there as temperature and constraint.
    """
    which = {"model": model and model.model_dump()}
    world = {"world": version_of(settings.env)}
    tags = {"tags": settings.tags} if settings.tags else {}
    chosen = setting_plan(settings, without=("url", "model", "method", "tags"))
    return {**chosen, **world, **which, **tags}


def _name(settings: RolloutSettings) -> str:
    who = settings.model if settings.player == "model" else settings.player
    parts = [settings.env, settings.split, who or "model", str(settings.seed)]
    if settings.method != "sft":
        parts.append(settings.method)
    if settings.grammar != "canonical":
        parts.append(settings.grammar)
    return settings.name or re.sub(r"[^\w.-]+", "-", "-".join(parts))


def _path(settings: RolloutSettings) -> Path:
    return settings.data_dir / "rollouts" / _name(settings) / "results.jsonl"
