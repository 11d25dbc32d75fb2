"""`agentlm rollout`: play tasks and leave scored trajectories in the log."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Literal, Self

from pydantic import Field
from pydantic_settings import CliToggleFlag, SettingsConfigDict

from agentlm.environments.adapters.loading import version_of
from agentlm.environments.catalogue import EnvironmentName, opened, tasks_of
from agentlm.environments.playing.curriculum import Curriculum
from agentlm.environments.playing.log_recording import EitherRecorder, StoreRecorder
from agentlm.environments.playing.model_player import PlayedModel, connected
from agentlm.environments.playing.players import EmptyPlayer, GoldPlayer, Player, RandomPlayer
from agentlm.environments.playing.progress import Progress, setting_plan
from agentlm.environments.playing.recording import NoRecorder, Recorder, ServerRecorder
from agentlm.environments.playing.session import PlaySettings, Seat, play_tasks, run_session
from agentlm.environments.task import Environment, Split
from agentlm.errors import OperatorError
from agentlm.printable import say
from agentlm.settings import parse
from agentlm.store import LOCAL_OWNER, Store


class RolloutSettings(PlaySettings):
    """Play many tasks with a model, and leave scored trajectories in its log.

    agentlm rollout --env db --url http://localhost:8000 --model smollm2-135m -n 200
    agentlm rollout --env db --player gold -n 500
    agentlm rollout --env db --model smollm2-135m -n 50 --for grpo

    The tries are kept as they finish: the same command goes on after an interruption.
    """

    model_config = SettingsConfigDict(cli_shortcuts={"limit": "n", "method": "for"})

    env: EnvironmentName
    """The family of tasks: db, os, kg, household, webshop; one of others that is held out:
    textworld-express, scienceworld, bfcl, fanoutqa, gsm8k, humaneval; or yours:
    FILE.py:Class, an entry point's name, gymnasium:ID, verifiers:NAME."""
    player: Literal["model", "gold", "empty", "random"] = "model"
    """Who plays: a model, the expert that each task comes with, nobody, or chance."""
    url: str = "http://127.0.0.1:8000"
    """An OpenAI-compatible server. Our own keeps the trajectories and is told the scores; what
    another one's model does is written into the log of --data-dir."""
    model: str | None = None
    """The model to play."""
    split: Split = "train"
    """Which tasks: train, dev and test share neither templates nor values."""
    limit: int = Field(100, ge=1)
    """Tasks to play."""
    temperature: float = Field(0.7, ge=0)
    """0 always takes the likeliest token."""
    curriculum: CliToggleFlag[bool] = False
    """Play more of the kinds of task that are neither always solved nor never, as told so far."""
    unconstrained: CliToggleFlag[bool] = False
    """Let our server's model write as it likes, instead of holding its calls to their form."""
    method: Literal["sft", "grpo"] = "sft"
    """What the tries are for. grpo compares several tries of each task, drawn at temperature 1 and
    unconstrained: only then does the log have how likely they were. 8 of each, unless --tries says
    how many."""

    tags: dict[str, str] = {}
    """Entries of the tries' metadata (--tags key=value), by which `agentlm finetune --tags` and
    `agentlm logs --tags` find them."""

    def drawn(self) -> Self:
        """With what the method needs. Raises OperatorError if something else was asked for."""
        if self.method == "sft":
            return self
        needed = {"temperature": 1.0, "unconstrained": True, "player": "model"}
        for name, value in needed.items():
            if name in self.model_fields_set and getattr(self, name) != value:
                raise OperatorError(
                    f"--for grpo needs --{name} {value}, got {getattr(self, name)}: of other tries "
                    "the log does not have how likely they were"
                )
        tries = self.tries if "tries" in self.model_fields_set else GROUP_TRIES
        if tries < 2:
            raise OperatorError("--for grpo compares tries of a task: --tries 2 or more")
        return self.model_copy(update={**needed, "tries": tries})


GROUP_TRIES = 8
"""Of each task, for grpo."""
_ENDLESS = 10**9
"""Tasks that a curriculum may look at."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_session(parse(RolloutSettings, argv or [], "agentlm rollout").drawn(), _run)


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
            known = list(progress.results.values())
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
            decoding = settings.decoding_with(False if settings.unconstrained else None)
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
                yield settings.seated(player, environment), either, player.model


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
            grammar=settings.texts(environment),
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
