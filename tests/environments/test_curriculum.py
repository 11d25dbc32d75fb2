"""What is neither always solved nor never is played more, and an interrupted rollout goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from agentlm.environments.playing.cli import main
from agentlm.environments.playing.curriculum import Curriculum
from agentlm.environments.playing.progress import Result, results_in
from agentlm.environments.task import Task
from agentlm.trajectory import Outcome

CHANCES = {"always": 1.0, "never": 0.0, "sometimes": 0.5}


def stream(count: int = 5000) -> Iterator[Task]:
    for number in range(count):
        family = list(CHANCES)[number % 3]
        yield Task(
            environment="e",
            template="t",
            family=family,
            split="train",
            instruction=f"{family} {number}",
            parameters={},
        )


def tried(task: Task, reward: float | None) -> Result:
    return Result(
        task_id=task.id,
        attempt=0,
        environment="e",
        family=task.family,
        template="t",
        outcome=Outcome.COMPLETED if reward is not None else Outcome.ERROR,
        reward=reward,
    )


def play(curriculum: Curriculum) -> Iterator[Result]:
    """Solve every second task of a kind that is solved sometimes."""
    for turn, task in enumerate(curriculum):
        chance = CHANCES[task.family]
        result = tried(task, float(turn % 2) if chance == 0.5 else chance)
        curriculum.note(result)
        yield result


def test_what_is_solved_sometimes_is_played_most_and_nothing_is_given_up() -> None:
    played = Counter(result.family for result in play(Curriculum(stream(), 300, seed=0)))
    assert sum(played.values()) == 300
    assert played["sometimes"] > 3 * max(played["always"], played["never"])
    assert min(played.values()) > 3


def test_no_task_comes_twice_and_the_same_seed_draws_the_same() -> None:
    first, second = (
        [result.task_id for result in play(Curriculum(stream(), 200, seed=1))] for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == 200


def test_what_was_begun_before_comes_first_and_counts() -> None:
    before = list(play(Curriculum(stream(), 120, seed=2)))
    curriculum = Curriculum(stream(), 200, seed=2, kept=before)
    after = [task.id for task in curriculum]
    assert len(after) == len(set(after)) == 200
    assert set(after[:120]) == {result.task_id for result in before}


def test_a_stream_that_ends_ends() -> None:
    assert len(list(play(Curriculum(stream(30), 100, seed=0)))) == 30
    assert list(Curriculum(iter(()), 5, seed=0)) == []


def test_broken_tries_say_nothing_of_a_kind() -> None:
    one, other = (Curriculum(stream(), 50, seed=3) for _ in range(2))
    for task in stream(30):
        other.note(tried(task, None))
    assert [task.id for task in one] == [task.id for task in other]


def test_a_rollout_may_follow_a_curriculum_and_goes_on(tmp_path: Path) -> None:
    flags = ["--env", "webshop", "--player", "random", "--curriculum", "--data-dir", str(tmp_path)]
    assert main([*flags, "-n", "4"]) == 0
    assert main([*flags, "-n", "6"]) == 0
    [file] = tmp_path.rglob("results.jsonl")
    assert len(results_in(file)) == 6
