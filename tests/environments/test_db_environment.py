"""The database environment proves itself: experts score 1, nobody 0, splits share nothing."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import pytest

from agentlm.environments.db.environment import DbEnvironment
from agentlm.environments.db.scoring import answers_match, parse_answer
from agentlm.environments.db.templates import skills
from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import EmptyPlayer, GoldPlayer, RandomPlayer
from agentlm.environments.splits import SPLITS
from agentlm.environments.task import Split, Task
from agentlm.errors import OperatorError

ENVIRONMENT = DbEnvironment()


def tasks(split: Split, count: int = len(skills()), seed: int = 0) -> list[Task]:
    return list(islice(ENVIRONMENT.generate(split, seed), count))


def words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower()))


@pytest.mark.parametrize("split", SPLITS)
async def test_the_expert_solves_every_task(split: Split) -> None:
    for task in tasks(split):
        run = await play(ENVIRONMENT, task, GoldPlayer())
        assert run.reward == 1.0, task.template


@pytest.mark.parametrize("player", [EmptyPlayer(), RandomPlayer()])
async def test_nobody_and_chance_solve_nothing(player: EmptyPlayer | RandomPlayer) -> None:
    rewards = [(await play(ENVIRONMENT, task, player)).reward for task in tasks("test")]
    assert sum(reward or 0 for reward in rewards) == 0


def test_a_seed_gives_the_same_tasks_and_another_seed_others() -> None:
    ids = [task.id for task in tasks("train", 20)]
    assert ids == [task.id for task in tasks("train", 20)]
    assert len(set(ids) | {task.id for task in tasks("train", 20, seed=1)}) == 40


def _row(columns: list[str]) -> str:
    info = {"columns": [{"name": name} for name in columns], "rows": []}
    table = {"table_name": "t", "table_info": info}
    return json.dumps({"description": "x", "label": ["y"], "type": ["other"], "table": table})


async def test_dbbench_hashes_reproduce_and_its_labels_score(agentbench: Path) -> None:
    loaded = ENVIRONMENT.load(agentbench / "dbbench" / "dev.jsonl", "dev")
    runs = [await play(ENVIRONMENT, task, GoldPlayer()) for task in loaded]
    assert [run.task.template for run in runs if run.reward != 1.0] == []
    changes = [run for run in runs if run.task.family in ("INSERT", "UPDATE")]
    assert len(changes) == 40
    assert all("call_error" not in run.error_classes for run in changes)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON: expecting property name"),
        ("[1]", "the task: an object is expected"),
        ('{"description": "x"}', "label: field required"),
        (
            json.dumps(
                {
                    "description": "x",
                    "label": ["y"],
                    "type": ["INSERT"],
                    "table": {
                        "table_name": "t",
                        "table_info": {"columns": [{"name": "a"}], "rows": []},
                    },
                }
            ),
            "answer_md5",
        ),
        (_row(["a", "A"]), "table: duplicate column name: A"),
        (_row(["a\0"]), "table: .*null"),
        (_row([]), "table.table_info.columns: list should have at least 1 item"),
        (_row(["\ud800"]), "half of a character"),
        ("[" * 100_000, "nested too deeply"),
        ('{"description": ' + "9" * 5000, "not JSON|digits"),
    ],
)
def test_a_malformed_task_file_is_told_by_file_line_and_field(
    tmp_path: Path, line: str, complaint: str
) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(f"\n{line}\n")
    with pytest.raises(OperatorError, match=f"tasks.jsonl:2: .*{complaint}"):
        ENVIRONMENT.load(file, "test")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('["a", "b"]', ["a", "b"]),
        ("The answer is ['7'].", ["7"]),
        ('[["a"], ["b"]]', ["a", "b"]),
        ("42", ["42"]),
        ("", []),
        ("[unclosed", ["[unclosed"]),
    ],
)
def test_answers_are_read_leniently(text: str, values: list[str]) -> None:
    assert parse_answer(text) == values


def test_answers_compare_as_numbers_as_text_or_as_sets() -> None:
    assert answers_match(["5"], ["5.0"])
    assert answers_match(["b", "a"], ["a", "b"])
    assert not answers_match(["a"], ["a", "b"])
    assert not answers_match(["5", "6"], ["5"])
    assert not answers_match([], ["none"])
