"""64 tries at once in a world that misbehaves, killed with SIGKILL again and again.

The same command goes on until each try has one result, and the log one reward for each.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from agentlm.environments.playing.progress import results_in
from agentlm.store import Selection, Store
from support.serving import running

COUNT = 64
WORLD = '''
"""Three steps, at one of which it misbehaves the first time."""

import os
import signal
import sys
import time
from pathlib import Path

from agentlm.environments.adapters.world import Action, Move, Problem, World

STEP = Move(thought="On.", action=Action(name="step", arguments={}))


class Frail(World):
    """Take steps until it is over."""

    taken = 0

    @staticmethod
    def tasks(split):
        for number in range(64):
            yield Problem(f"Walk {number}.", {"number": number}, gold=(STEP,) * 3)

    def step(self) -> str:
        """Take one."""
        number, self.taken = self.parameters["number"], self.taken + 1
        self.earned, self.over = self.taken / 3, self.taken == 3
        if self.taken == 1 + number % 3 and not (mark := Path(f"FOLDER/{number}")).exists():
            mark.touch()
            match number // 3 % 4:
                case 0:
                    raise OSError("\\u2028 \\udc80")
                case 1:
                    return "\\udc80 \\u2028" * 10**5
                case 2:
                    sys.exit("out")
            if number == 34:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(3 if number == 35 else 0)
        return "taken"
'''
DRIVER = '''
"""Play as the command line does, and die before or after a certain call of a method."""

import os
import signal
import sys

from agentlm.environments.playing import cli, log_recording, progress, recording

place, moment, count, *flags = sys.argv[1:]
owner, _, name = place.partition(".")
kind = next(vars(m)[owner] for m in (progress, recording, log_recording) if owner in vars(m))
method, calls = getattr(kind, name), []


def reached(when):
    calls.append(when)
    if when == moment and calls.count(when) == int(count):
        os.kill(os.getpid(), signal.SIGKILL)


def add(self, result):
    reached("before")
    method(self, result)
    reached("after")


async def record(self, run):
    reached("before")
    kept = await method(self, run)
    reached("after")
    return kept


setattr(kind, name, add if name == "add" else record)
sys.exit(cli.main(flags))
'''
NEVER = ("Progress.add", "before", "10000")
MOMENTS = [
    NEVER,  # but the world kills by itself
    ("RECORDER.keep", "after", "20"),
    ("Progress.add", "after", "1"),
    ("RECORDER.score", "after", "5"),
    NEVER,
]


async def run(*arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", DRIVER, *arguments)
    return await process.wait()


@asynccontextmanager
async def played_by(player: str, tmp_path: Path) -> AsyncIterator[tuple[Store, list[str]]]:
    """The log that is written to, and the flags of the player."""
    if player == "model":
        script: Any = repeat("Thought: On.\nAction: step\nAction Input: {}")
        async with running(tmp_path / "server", script, "chatml", {"context": 65536}) as server:
            yield server.store, ["--model", "tiny", "--url", server.url]
        return
    store = Store.open(f"sqlite:///{tmp_path / 'data/agentlm.db'}")
    try:
        yield store, ["--player", player]
    finally:
        store.close()


@pytest.mark.parametrize(
    ("player", "recorder"), [("model", "ServerRecorder"), ("gold", "StoreRecorder")]
)
async def test_a_rollout_of_64_that_is_killed_at_any_moment_loses_nothing_and_scores_nothing_twice(
    player: str, recorder: str, tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "server").mkdir()
    file = tmp_path / "frail.py"
    file.write_text(WORLD.replace("FOLDER", str(tmp_path / "marks")))
    flags = ["--env", f"{file}:Frail", "-n", str(COUNT), "--concurrency", str(COUNT)]
    flags += ["--name", "r", "--step-timeout-s", "2", "--retries", "5"]
    flags += ["--data-dir", str(tmp_path / "data")]
    codes = []
    async with played_by(player, tmp_path) as (store, who):
        for place, moment, count in MOMENTS:
            moment_of = [place.replace("RECORDER", recorder), moment, count]
            codes.append(await run(*moment_of, *flags, *who))
        rewarded = [each for each in store.select(Selection()) if each.reward is not None]
    assert codes == [-signal.SIGKILL] * (len(MOMENTS) - 1) + [0]
    results = results_in(tmp_path / "data/rollouts/r/results.jsonl")
    assert Counter(result.reward for result in results) == {1.0: COUNT}
    assert not any(result.unfinished for result in results)
    assert {r.trajectory_id: r.task_id for r in results} == {t.id: t.task_id for t in rewarded}
    assert len(rewarded) == COUNT
