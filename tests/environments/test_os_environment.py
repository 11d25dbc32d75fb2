"""The operating system environment proves itself in the real sandbox."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

import pytest
import pytest_asyncio

from agentlm.environments.os.compare import Comparison, agrees
from agentlm.environments.os.environment import OsEnvironment, opened
from agentlm.environments.os.generate import skills
from agentlm.environments.playing.play import Play, play
from agentlm.environments.playing.players import (
    EmptyPlayer,
    GoldPlayer,
    Player,
    RandomPlayer,
    Reply,
)
from agentlm.environments.task import Action, Split, Task
from agentlm.errors import OperatorError
from agentlm.trajectory import Outcome

SPLITS: tuple[Split, ...] = ("train", "dev", "test")

NEEDS_ROOT = {18, 19, 20, 24}
"""Tasks of AgentBench's dev.json that make users: a sandbox has no real root."""
TRAINING_EXCEPTIONS = {
    147: "reads the machine's own logs",
    148: "reads the machine's own logs",
    242: "reads the machine's own logs",
    607: "reads the machine's own logs",
    934: "reads the machine's own logs",
    948: "reads the machine's own logs",
    252: "its reference prints two numbers where one is compared",
    356: "its set-up writes for longer than a command may take",
    683: "its reference changes what it counts",
    962: "its reference prints nothing without files in the home directory",
}


@pytest_asyncio.fixture
async def environment() -> AsyncIterator[OsEnvironment]:
    async with opened(8) as environment:
        yield environment


async def played(environment: OsEnvironment, tasks: list[Task], player: Player) -> list[Play]:
    slots = asyncio.Semaphore(8)

    async def one(task: Task) -> Play:
        async with slots:
            return await play(environment, task, player)

    return await asyncio.gather(*map(one, tasks))


def tasks(environment: OsEnvironment, split: Split) -> list[Task]:
    return list(islice(environment.generate(split), len(skills())))


@pytest.mark.parametrize("split", SPLITS)
async def test_the_expert_solves_every_task(environment: OsEnvironment, split: Split) -> None:
    runs = await played(environment, tasks(environment, split), GoldPlayer())
    assert [r.task.template for r in runs if r.reward != 1.0 or r.error_classes] == []


@pytest.mark.parametrize("player", [EmptyPlayer(), RandomPlayer()])
async def test_nobody_and_chance_solve_nothing(environment: OsEnvironment, player: Player) -> None:
    runs = await played(environment, tasks(environment, "test"), player)
    assert [r.task.template for r in runs if r.reward != 0.0] == []


async def test_saying_done_without_a_change_scores_nothing(environment: OsEnvironment) -> None:
    class SaysDone(EmptyPlayer):
        async def reply(self, *_: object) -> Reply:
            return Reply(answer="done")

    runs = await played(environment, tasks(environment, "train"), SaysDone())
    assert [r.task.template for r in runs if r.reward != 0.0] == []


def test_at_least_forty_skills_are_taught_in_one_to_eight_steps() -> None:
    assert len(skills()) >= 40
    assert {len(skill.steps) for skill in skills().values()} <= set(range(1, 9))


def test_splits_share_no_phrasing() -> None:
    sets = [{p for skill in skills().values() for p in skill.phrasings(s)} for s in SPLITS]
    assert len(set.union(*sets)) == sum(map(len, sets))


async def test_the_right_answer_is_fixed_before_the_player_can_change_the_scene(
    environment: OsEnvironment,
) -> None:
    task = next(t for t in environment.generate("train") if t.template.startswith("count_files/"))
    async with environment.open(task) as world:
        await world.act(Action(name="bash", arguments={"command": "rm -rf *; ls() { echo 0; }"}))
        assert await world.score("0") == 0.0


async def test_agentbench_dev_references_pass_but_those_that_need_root(
    environment: OsEnvironment, agentbench: Path
) -> None:
    loaded = environment.load(agentbench / "os_interaction" / "dev.json", "dev")
    runs = await played(environment, loaded, GoldPlayer())
    failed = {int(r.task.template.partition(":")[2]) for r in runs if r.reward != 1.0}
    assert failed == NEEDS_ROOT
    assert all(r.outcome is Outcome.ERROR for r in runs if r.reward != 1.0)


@pytest.mark.slow
async def test_agentbench_training_references_pass_with_known_exceptions(
    environment: OsEnvironment, agentbench: Path
) -> None:
    loaded = environment.load(agentbench / "os_interaction" / "training.json", "train")
    runs = await played(environment, loaded, GoldPlayer())
    failed = {int(r.task.template.partition(":")[2]) for r in runs if r.reward != 1.0}
    assert failed == set(TRAINING_EXCEPTIONS)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ({"description": "y"}, "8: evaluation: field required"),
        ({"description": "y", "evaluation": {}}, "8: evaluation: a match or a check is needed"),
        ({"description": "y", "evaluation": {"match": {}}}, "8: evaluation: match needs an answer"),
        (
            {"description": "y", "evaluation": {"check": [None, {"file": "integer-match.py"}]}},
            "8: evaluation: an example is needed",
        ),
        (7, "8: the task: an object is expected"),
    ],
)
async def test_a_malformed_task_file_is_told_by_file_line_and_field(
    environment: OsEnvironment, tmp_path: Path, broken: object, complaint: str
) -> None:
    file = tmp_path / "tasks.json"
    good = {"description": "x", "evaluation": {"match": "1"}}
    file.write_text(json.dumps([good, broken], indent=1))
    with pytest.raises(OperatorError, match=f"tasks.json:{complaint}"):
        environment.load(file, "dev")


async def test_text_that_is_no_json_is_told_by_its_line(
    environment: OsEnvironment, tmp_path: Path
) -> None:
    file = tmp_path / "tasks.json"
    file.write_text('[\n {"description')
    with pytest.raises(OperatorError, match=r"tasks.json:2: not JSON: .* \(column 3\)"):
        environment.load(file, "dev")


@pytest.mark.parametrize(
    ("answer", "expected", "how", "right"),
    [
        ("There are 12 files.", "12\n", "integer", True),
        ("12 or 13", "12", "integer", False),
        ("4K", "4.0K", "size", True),
        ("4096", "4.0K", "size", True),
        ("`a.txt`", "a.txt", "string", True),
        ("a.txt.bak", "a.txt", "string", False),
        ("it is a.txt", "a.txt", "containing", True),
        ("", "", "string", False),
    ],
)
def test_answers_compare_as_the_task_says(
    answer: str, expected: str, how: Comparison, right: bool
) -> None:
    assert agrees(answer, expected, how) is right
