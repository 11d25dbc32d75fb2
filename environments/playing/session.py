"""What `agentlm rollout` and `agentlm eval` have in common: how tasks are played, many at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field
from pydantic_settings import CliToggleFlag

from agentlm.console import Console
from agentlm.environments.agentinstruct import TextGrammar
from agentlm.environments.catalogue import text_grammar
from agentlm.environments.db.parts import Part
from agentlm.environments.playing.curriculum import Curriculum
from agentlm.environments.playing.demonstration import demonstration
from agentlm.environments.playing.display import Display
from agentlm.environments.playing.model_player import Decoding, ModelPlayer
from agentlm.environments.playing.play import STEP_TIMEOUT_S
from agentlm.environments.playing.players import Player
from agentlm.environments.playing.progress import Progress, Result
from agentlm.environments.playing.recording import Recorder
from agentlm.environments.playing.rollout import Rollout
from agentlm.environments.playing.text_player import TextPlayer
from agentlm.environments.task import Environment, Scoring, Task
from agentlm.errors import OperatorError
from agentlm.printable import say
from agentlm.settings import Settings


class PlaySettings(Settings):
    """How tasks are played."""

    url: str = "http://127.0.0.1:8000"
    """An OpenAI-compatible server."""
    api_key: str | None = None
    """Key for the server."""
    tasks: Path | None = None
    """A task file, AgentBench's or of your own world, instead of generated tasks."""
    known: tuple[Part, ...] = ()
    """Parts of generated tasks of db that are drawn as in training, to see which of them a score
    hangs on: table, columns, values, phrasing, schema."""
    tries: int = Field(1, ge=1)
    """Tries per task."""
    concurrency: int = Field(8, ge=1)
    """Tries at a time."""
    retries: int = Field(2, ge=0)
    """How often a try is played again after a failure that is not the player's."""
    step_timeout_s: float = Field(STEP_TIMEOUT_S, gt=0)
    """Seconds for one step of a world; one that takes longer is broken, and nothing is scored."""
    seed: int = 0
    """Of the tasks, and of the model's sampling."""
    temperature: float = Field(0.0, ge=0)
    """0 always takes the likeliest token."""
    max_tokens: int = Field(512, ge=1)
    """Tokens that the model may write per turn."""
    one_shot: CliToggleFlag[bool] = False
    """Show a solved training task before each task."""
    grammar: Literal["canonical", "agentinstruct"] = "canonical"
    """How actions are written: as calls of declared tools, or in AgentInstruct's own texts."""
    scoring: Scoring = "agentlm"
    """By whose rules answers are judged: ours, or AgentBench's own code to the letter."""
    name: str | None = None
    """Of what is kept in the data directory; the default says what is played."""
    fresh: CliToggleFlag[bool] = False
    """Play everything anew: forget the results that are kept under this name."""

    def decoding_with(self, constrained: bool | None) -> Decoding:
        """How the model is asked to draw tokens."""
        return Decoding(
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            constrained=constrained,
            seed=self.seed,
        )

    def texts(self, environment: Environment) -> TextGrammar | None:
        """AgentInstruct's texts, if actions are to be written in them."""
        return text_grammar(environment) if self.grammar == "agentinstruct" else None

    def seated(self, player: ModelPlayer, environment: Environment) -> Player:
        """The player, writing its actions as is asked."""
        texts = self.texts(environment)
        return player if texts is None else TextPlayer(player, texts)


AnyPlaySettings = TypeVar("AnyPlaySettings", bound=PlaySettings)


def run_session(
    settings: AnyPlaySettings, session: Callable[[AnyPlaySettings], Coroutine[Any, Any, int]]
) -> int:
    """Run a command that can be interrupted and goes on later; returns its exit code."""
    if settings.one_shot and settings.grammar == "agentinstruct":
        raise OperatorError("--one-shot is not offered with --grammar agentinstruct")
    if settings.known and settings.tasks:
        raise OperatorError("--known is for generated tasks: a file's are as they are")
    settings.prepare_data_dir()
    try:
        return asyncio.run(session(settings))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise


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
    """Play `count` tasks but for what is `known`; returns how it went."""
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
        shown=await demonstration(seat.environment, settings.seed) if settings.one_shot else (),
        on_result=heard,
    )
    with display.bar:
        await rollout.run(tasks, settings.tries)
    if display.errors:
        say(f"the last failure: {display.last_error}", sys.stderr)
    return display
