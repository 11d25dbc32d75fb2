"""The operating system environment proves itself in the real sandbox."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

import pytest
import pytest_asyncio

from agentlm.environments.os import generate
from agentlm.environments.os.compare import Comparison, agrees, equals
from agentlm.environments.os.environment import OsEnvironment, opened
from agentlm.environments.os.generate import phrasings, skills
from agentlm.environments.playing.play import Play, play
from agentlm.environments.playing.players import (
    EmptyPlayer,
    GoldPlayer,
    Player,
    RandomPlayer,
    Reply,
)
from agentlm.environments.splits import SPLITS
from agentlm.environments.task import Action, Split, Task
from agentlm.errors import OperatorError
from agentlm.trajectory import Outcome

NEEDS_ROOT = {18, 19, 20, 24}
"""Tasks of AgentBench's dev.json that make users: a sandbox has no real root."""
TRAINING_EXCEPTIONS = {252: "its reference prints two numbers where one is compared"}


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


LATELY = [split for split in SPLITS if split != "dev2"]
"""Splits that something is still measured on."""


@pytest.mark.parametrize("split", [*LATELY, pytest.param("dev2", marks=pytest.mark.slow)])
async def test_the_expert_solves_every_task(environment: OsEnvironment, split: Split) -> None:
    runs = await played(environment, tasks(environment, split), GoldPlayer())
    assert [r.task.template for r in runs if r.reward != 1.0] == []


@pytest.mark.parametrize(
    ("skill", "part"),
    [
        ("number_of", "O'Neill"),
        ("set_mode", "stat -c %a [aeiouAEIOU]"),
        ("copy_directory", "cp -a A"),
    ],
)
async def test_the_expert_solves_tasks_whose_words_the_shell_would_take_for_its_own(
    environment: OsEnvironment, skill: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An apostrophe in a name, and a path with a vowel after `%a` or `-a`, which is no article."""
    asked = phrasings("train")[skill]
    monkeypatch.setattr(generate, "phrasings", lambda _: {skill: asked})
    drawn = islice(environment.generate("train", 1), 300)
    task = next(task for task in drawn if re.search(part, f"{task}"))
    assert not re.search("[%-]an ", f"{task}")
    for player, reward in ((GoldPlayer(), 1.0), (EmptyPlayer(), 0.0), (RandomPlayer(), 0.0)):
        assert (await play(environment, task, player)).reward == reward


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
        (
            {"description": "y", "evaluation": {"match": {"regex": "("}}},
            r"8: evaluation.match.*: no regular expression: missing \)",
        ),
        (
            {"description": "y", "start": "echo \0", "evaluation": {"match": "1"}},
            "8: start: a script can't hold the character nul",
        ),
        ({"description": "\udfff", "evaluation": {"match": "1"}}, "1: .*half of a character"),
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


async def solved(environment: OsEnvironment, tasks: list[Task], *moves: str) -> list[float]:
    """Rewards of running commands, of which the last is the answer."""
    rewards = []
    for task in tasks:
        async with environment.open(task) as world:
            for command in moves[:-1]:
                await world.act(Action(name="bash", arguments={"command": command}))
            rewards.append(await world.score(moves[-1]))
    return rewards


def written(folder: Path, *rows: dict[str, object], name: str = "data/3/tasks.json") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rows[0] if len(rows) == 1 else rows)
    file.write_text("\n".join(map(json.dumps, rows)) if file.suffix == ".jsonl" else text)
    return file


CREATES_X: dict[str, object] = {
    "description": "Create x.",
    "evaluation": {"check": {"code": 'test -f x && [ "$1" = yes ]'}},
}


@pytest.mark.parametrize("name", ["data/3/tasks.json", "tasks.jsonl"])
async def test_a_check_in_the_file_itself_is_given_the_answer(
    environment: OsEnvironment, tmp_path: Path, name: str
) -> None:
    file = written(tmp_path, CREATES_X, name=name)
    task = environment.load(file, "test")
    assert await solved(environment, task, "touch /root/x", "yes") == [1.0]
    assert await solved(environment, task, "touch ~/x", "no") == [0.0]
    assert await solved(environment, task, "test() { true; }; export -f test", "yes") == [0.0]


async def test_each_check_is_given_what_those_before_it_printed(
    environment: OsEnvironment, tmp_path: Path
) -> None:
    row = {
        "description": "How many?",
        "create": {
            "init": [
                {"code": "echo 4 > n"},
                "touch second",
                {"language": "python", "code": "open('third', 'w').close()"},
            ]
        },
        "evaluation": {
            "example": {"code": "cat n"},
            "check": [
                None,
                {"code": 'test "$1" = 4 && test $2 = 4 && ls | wc -l'},
                {"language": "python", "code": "import sys; sys.exit(int(sys.argv[3]) != 3)"},
            ],
        },
    }
    tasks = environment.load(written(tmp_path, row), "test")
    assert await solved(environment, tasks, "cat n", "4") == [1.0]
    assert await solved(environment, tasks, "cat n", "5") == [0.0]
    assert await solved(environment, tasks, "touch fourth", "4") == [0.0]


async def test_scripts_are_read_from_the_folder_that_belongs_to_the_file(
    environment: OsEnvironment, tmp_path: Path
) -> None:
    scripts = tmp_path / "scripts" / "3"
    for path, code in {
        "init/a.sh": "mkdir -p /home/b && echo ready > /home/b/state",
        "check/0.sh": '[ "$(count /home/b)" = 1 ]',
        "example/0.sh": "printf '#!/bin/sh\\nls $1 | wc -l\\n' > count; chmod +x count; "
        "mv count /usr/local/bin/",
    }.items():
        (scripts / path).parent.mkdir(parents=True)
        (scripts / path).write_text(code)
    evaluation = {"check": {"file": "check/0.sh"}, "example": {"file": "example/0.sh"}}
    row = {"description": "x", "create": {"init": {"file": "init/a.sh"}}, "evaluation": evaluation}
    outside = {**row, "create": {"init": {"file": "../4/a.sh"}}}
    foreign = {**row, "evaluation": {"check": {"language": "c++", "code": "int main() {}"}}}
    loaded = environment.load(written(tmp_path, row, outside, foreign), "test")
    assert [task.template for task in loaded] == ["os_interaction/tasks:0"]
    assert [run.reward for run in await played(environment, loaded, GoldPlayer())] == [1.0]
    assert await solved(environment, loaded, "true", "done") == [0.0]


async def test_a_set_up_leaves_its_files_and_jobs_and_not_its_shell(
    environment: OsEnvironment, tmp_path: Path
) -> None:
    init = (
        "cd /var; name=kept; f() { :; }; set -u; (while :; do date >> /var/beat; sleep 0.1; done) &"
    )
    row = {"description": "x", "create": {"init": init}, "evaluation": {"match": "x"}}
    [task] = environment.load(written(tmp_path, row), "test")
    async with environment.open(task) as world:
        command = "pwd; echo [$name]; type f; sleep 0.3; test -s /var/beat && echo beats"
        seen = (await world.act(Action(name="bash", arguments={"command": command}))).text
    assert seen.splitlines()[:2] == ["/root", "[]"]
    assert "not found" in seen
    assert seen.endswith("beats")


async def test_a_reference_does_not_run_the_players_programs_nor_in_its_ruins(
    environment: OsEnvironment, tmp_path: Path
) -> None:
    check = [None, {"language": "python", "file": "check/integer-match.py"}]
    row = {
        "description": "How many files?",
        "create": {"init": "touch a b c"},
        "evaluation": {"check": check, "example": "ls | wc -l"},
    }
    tasks = environment.load(written(tmp_path, row), "test")
    fake = "mkdir p; printf '#!/bin/sh\\necho 9' > p/wc; chmod +x p/wc; export PATH=$PWD/p:$PATH"
    assert await solved(environment, tasks, fake, "9") == [0.0]
    assert await solved(environment, tasks, fake, "3") == [1.0]
    assert await solved(environment, tasks, "rm a b c", "0") == [0.0]


async def test_files_outside_the_work_directory_outlive_a_shell_that_was_stopped(
    environment: OsEnvironment, tmp_path: Path
) -> None:
    row = {**CREATES_X, "create": {"init": "echo kept > /home/x; echo kept > /tmp/x"}}
    [task] = environment.load(written(tmp_path, row), "test")
    async with environment.open(task) as world:
        await world.act(Action(name="bash", arguments={"command": "exit"}))
        command = "cat /home/x /tmp/x"
        seen = await world.act(Action(name="bash", arguments={"command": command}))
    assert seen.text.endswith("kept\nkept")


@pytest.mark.parametrize(
    ("answer", "expected", "how", "ours", "agentbench"),
    [
        ("12", "12\n", "integer", True, True),
        ("There are 12 files.", "12", "integer", True, False),
        (" +12 ", "12", "integer", True, True),
        ("", "12", "integer", False, False),
        ("4.0K", "4.0K", "size", True, False),
        ("4096", "4K", "size", True, True),
        ("4KB", "4K", "size", True, False),
        ("a\r\nb", "a\nb\n", "string", False, True),
        ("'a'", "a", "string", True, False),
        ("", "abc", "in", False, True),
        ("abc", "", "containing", True, True),
    ],
)
def test_answers_compare_by_our_rules_or_by_agentbenchs(
    answer: str, expected: str, how: Comparison, ours: bool, agentbench: bool
) -> None:
    assert agrees(answer, expected, how) is ours
    assert equals(answer, expected, how) is agentbench


async def test_agentbenchs_scoring_runs_its_reference_last_and_matches_to_the_letter(
    tmp_path: Path,
) -> None:
    check = [None, {"language": "python", "file": "check/string-match.py"}]
    asked = {"description": "x", "evaluation": {"check": check, "example": "cat /root/x"}}
    matched = {"description": "x", "evaluation": {"match": {"answer": "a "}}}
    file = written(tmp_path, asked, {**matched, "evaluation": {"match": " a"}}, matched)
    async with opened(2, "agentbench") as environment:
        tasks = environment.load(file, "test")
        assert await solved(environment, tasks, "echo a > x", "a ") == [1.0, 0.0, 1.0]
        assert await solved(environment, tasks[:1], "rm -f x", "") == [0.0], "its reference fails"
