"""What `agentlm rollout` and `agentlm eval` have in common: how tasks are played, many at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from agentlm.console import Console
from agentlm.environments.agentinstruct import TextGrammar
from agentlm.environments.catalogue import text_grammar
from agentlm.environments.playing.curriculum import Curriculum
from agentlm.environments.playing.demonstration import demonstration
from agentlm.environments.playing.display import Display
from agentlm.environments.playing.model_player import Decoding, ModelPlayer
from agentlm.environments.playing.players import Player
from agentlm.environments.playing.progress import Progress, Result
from agentlm.environments.playing.recording import Recorder
from agentlm.environments.playing.rollout import Rollout
from agentlm.environments.playing.settings import PlaySettings
from agentlm.environments.playing.text_player import TextPlayer
from agentlm.environments.task import Environment, Task
from agentlm.printable import say

AnyPlaySettings = TypeVar("AnyPlaySettings", bound=PlaySettings)


def run_session(
    settings: AnyPlaySettings, session: Callable[[AnyPlaySettings], Coroutine[Any, Any, int]]
) -> int:
    """Run a command that can be interrupted and goes on later; returns its exit code."""
    settings.prepare_data_dir()
    try:
        return asyncio.run(session(settings))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise


def decoding_of(settings: PlaySettings, constrained: bool | None) -> Decoding:
    """How the model is asked to draw tokens."""
    return Decoding(
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        constrained=constrained,
        seed=settings.seed,
    )


def texts_of(settings: PlaySettings, environment: Environment) -> TextGrammar | None:
    """AgentInstruct's texts, if actions are to be written in them."""
    return text_grammar(environment) if settings.grammar == "agentinstruct" else None


def seated(settings: PlaySettings, player: ModelPlayer, environment: Environment) -> Player:
    """The player, writing its actions in the form that is asked for."""
    texts = texts_of(settings, environment)
    return player if texts is None else TextPlayer(player, texts)


@dataclass(frozen=True)
class Seat:
    """Who plays where, and what is kept of it."""

    environment: Environment
    player: Player
    recorder: Recorder
    progress: Progress


async def play_tasks(
    settings: PlaySettings, seat: Seat, tasks: Iterable[Task], known: Iterable[Result], count: int
) -> Display:
    """Play `count` tasks, except the tries that are `known`; returns how it went."""
    display = Display(Console(stderr=True), count * settings.tries)
    display.count(known)

    def heard(result: Result) -> None:
        display.add(result)
        if isinstance(tasks, Curriculum):
            tasks.note(result)

    rollout = Rollout(
        seat.environment,
        seat.player,
        seat.recorder,
        seat.progress,
        concurrency=settings.concurrency,
        retries=settings.retries,
        step_timeout_s=settings.step_timeout_s,
        demonstration=await demonstration(seat.environment, settings.seed)
        if settings.one_shot
        else (),
        on_result=heard,
    )
    with display.bar:
        await rollout.run(tasks, settings.tries)
    if display.errors:
        say(f"the last failure: {display.last_error}", sys.stderr)
    return display
