"""A rollout against the real server, whose engine speaks the expert's turns."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from agentlm.environments.db.environment import DbEnvironment
from agentlm.environments.playing.log_recording import steps_of
from agentlm.environments.playing.model_player import Decoding, connected
from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import GoldPlayer
from agentlm.environments.playing.progress import Result
from agentlm.environments.playing.recording import ServerRecorder
from agentlm.environments.playing.session import decoding_of
from agentlm.environments.playing.settings import RolloutSettings
from agentlm.finetune.data.rewarded.groups import not_as_sampled, not_recorded
from agentlm.trajectory import Origin, Outcome
from support.serving import running

ENVIRONMENT = DbEnvironment()


async def test_a_run_is_one_trajectory_with_an_interaction_per_turn_and_a_score(
    tmp_path: Path,
) -> None:
    tasks = ENVIRONMENT.generate("train")
    task = next(task for task in islice(tasks, 100) if len(task.gold) == 4)
    expert = await play(ENVIRONMENT, task, GoldPlayer())
    turns = [step.text for step in steps_of(expert) if step.role == "assistant"]
    async with (
        running(tmp_path, turns, "chatml", {}) as server,
        connected(server.url, "tiny", Decoding()) as player,
    ):
        run = await play(ENVIRONMENT, task, player)
        recorder = ServerRecorder(player)
        await recorder.score(Result.of(run, await recorder.keep(run)))
        [trajectory] = server.trajectories()

    assert (run.reward, run.trajectory_id) == (1.0, trajectory.id)
    assert (trajectory.reward, trajectory.outcome) == (1.0, Outcome.COMPLETED)
    assert (trajectory.source, trajectory.environment) == ("rollout", "db")
    assert trajectory.task_id == task.id
    assert len(trajectory.interactions) == 4
    sampled = [step.text for step in trajectory.steps if step.origin is Origin.SAMPLED]
    assert sampled == turns
    assert trajectory.metadata["template"] == task.template


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"method": "grpo"}, None),
        ({"temperature": 1.0}, "decoding was constrained"),
        ({"unconstrained": True}, "temperature was 0.7"),
    ],
)
async def test_tries_for_grpo_have_ratios_and_others_have_none(
    tmp_path: Path, settings: dict[str, Any], reason: str | None
) -> None:
    drawn = RolloutSettings(env="db", model="tiny", **settings).drawn()
    decoding = decoding_of(drawn, False if drawn.unconstrained else None)
    task = next(ENVIRONMENT.generate("train"))
    expert = await play(ENVIRONMENT, task, GoldPlayer())
    turns = [step.text for step in steps_of(expert) if step.role == "assistant"]
    async with (
        running(tmp_path, turns, "chatml", {}) as server,
        connected(server.url, "tiny", decoding) as player,
    ):
        run = await play(ENVIRONMENT, task, player)
        recorder = ServerRecorder(player)
        await recorder.score(Result.of(run, await recorder.keep(run)))
        [trajectory] = server.trajectories()

    found = not_as_sampled(trajectory)
    assert (found and found.split(";")[0]) == reason
    assert not_recorded(trajectory) is None
    versions = {s.weights_version for s in trajectory.steps if s.origin is Origin.SAMPLED}
    assert versions == {player.model.weights_version}


async def test_the_server_tells_which_weights_answer_in_its_list_and_with_each_answer(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, ["Hello"], "chatml", {}) as server,
        connected(server.url, "tiny", Decoding()) as player,
        AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
    ):
        answer = await client.chat.completions.with_raw_response.create(
            model="tiny", messages=[{"role": "user", "content": "Hi"}]
        )
    assert player.model.weights_version
    assert answer.headers["x-weights-version"] == player.model.weights_version


async def test_an_unreadable_turn_ends_the_run_as_invalid(tmp_path: Path) -> None:
    task = next(ENVIRONMENT.generate("train"))
    async with (
        running(tmp_path, ["I wonder what to do"], "chatml", {}) as server,
        connected(server.url, "tiny", Decoding(constrained=False)) as player,
    ):
        run = await play(ENVIRONMENT, task, player)
        recorder = ServerRecorder(player)
        await recorder.score(Result.of(run, await recorder.keep(run)))
        [header], _ = server.store.page(None)

    assert (header.outcome, header.reward) == (Outcome.INVALID, 0.0)
    assert header.error_classes == ("invalid_action",)
