"""What is held out gives nothing away, is the same each time, and is not trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentlm.errors import OperatorError
from agentlm.finetune.data.held_out import draw
from agentlm.finetune.data.prepare import Prepared, prepare
from agentlm.finetune.settings import FinetuneSettings
from agentlm.prompt.render import Renderer
from agentlm.trajectory import Trajectory
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    trajectory,
    write_log,
)

WORDS = ("apples", "bees", "cats", "dogs", "eels", "figs", "geese", "hens", "ibises", "jays")


@pytest.fixture
def log(data_dir: Path, by: Renderer) -> list[Trajectory]:
    """Two tries of each of ten tasks."""
    rows = [
        trajectory(
            conversation(by, f"Try {n}: how many {word}?", CALL, ANSWER, observed=f"{n}"),
            environment="db",
            task_id=word,
        )
        for word in WORDS
        for n in range(2)
    ]
    write_log(data_dir, rows)
    return rows


def run(data_dir: Path, **settings: object) -> Prepared:
    options = {"from_logs": True, "skip_filters": ("near_duplicate",)} | settings
    return prepare(FinetuneSettings(data_dir=data_dir, **options))


def names(prepared: Prepared) -> tuple[list[str], list[str]]:
    """Of the rows that are trained on, and of those that are held out."""
    held = prepared.held_out()
    return list(prepared.sources()[0].rows.names()), [] if held is None else list(held.names())


def test_nothing_is_held_out_unless_it_is_asked_for(data_dir: Path, log: list[Trajectory]) -> None:
    assert names(run(data_dir)) == ([row.id for row in log], [])


def test_a_task_is_held_out_with_all_of_its_rows(data_dir: Path, log: list[Trajectory]) -> None:
    trained, held = names(run(data_dir, eval_share=0.25))

    assert sorted(trained + held) == sorted(row.id for row in log)
    task = {row.id: row.task_id for row in log}
    assert len(held) == 4
    assert {task[name] for name in held}.isdisjoint(task[name] for name in trained)


def test_the_seed_decides_which(data_dir: Path, log: list[Trajectory]) -> None:
    first, again, other = (names(run(data_dir, eval_share=0.2, seed=seed))[1] for seed in (1, 1, 3))

    assert first == again != other


def test_an_unfinished_run_goes_on_with_the_same_rows(
    data_dir: Path, log: list[Trajectory]
) -> None:
    begun = names(run(data_dir, eval_share=0.2, name="next"))

    assert names(run(data_dir, eval_share=0.2, name="next")) == begun
    with pytest.raises(OperatorError, match=r"other settings \(eval_share was 0.2\)"):
        run(data_dir, eval_share=0.3, name="next")


@pytest.mark.parametrize("kin", ["fork", "question"])
def test_a_conversation_is_held_out_with_its_forks_and_repetitions(
    data_dir: Path, by: Renderer, kin: str
) -> None:
    rows = []
    for word in WORDS:
        steps = conversation(by, f"How many {word}?", CALL, ANSWER)
        first = trajectory(steps)
        forked = {"parent_id": first.id, "parent_step": 3} if kin == "fork" else {}
        rows += [first, trajectory(steps, **forked)]
    write_log(data_dir, rows)

    trained, held = names(run(data_dir, eval_share=0.3))

    place = {row.id: index // 2 for index, row in enumerate(rows)}
    assert len(held) == 6
    assert {place[name] for name in held}.isdisjoint(place[name] for name in trained)


def test_rows_that_open_with_the_same_instructions_are_no_kin(data_dir: Path) -> None:
    rows = [
        {
            "conversations": [
                {"from": "human", "loss": None, "value": "Play the game. Say OK."},
                {"from": "gpt", "loss": False, "value": "OK."},
                {"from": "human", "loss": None, "value": f"How many {word}?"},
                {"from": "gpt", "loss": True, "value": "Think: none\nAct: answer(0)"},
            ]
        }
        for word in WORDS
    ]
    file = data_dir / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    prepared = run(data_dir, from_logs=False, data=(str(file),), eval_share=0.3)

    held = prepared.held_out()
    assert held is not None
    assert (len(prepared.sources()[0].rows), len(held)) == (7, 3)


def test_a_file_is_measured_on_without_what_is_trained_on(
    data_dir: Path, log: list[Trajectory]
) -> None:
    questions = ["How many kites?", "Try 0: how many apples?"]
    chats = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "3."}]}
        for text in questions
    ]
    train, measure = data_dir / "train.jsonl", data_dir / "measure.jsonl"
    train.write_text(json.dumps(chats[1]) + "\n")
    measure.write_text("".join(json.dumps(row) + "\n" for row in chats))

    prepared = run(data_dir, data=(str(train),), eval_data=(str(measure),))

    held = prepared.held_out()
    assert held is not None
    assert len(held) == 1
    found = prepared.run.read("selection.json")["held-out"]
    assert (found["rows"], found["kept"], found["dropped"]) == (2, 1, {"trained_on": 1})

    with pytest.raises(OperatorError, match="--eval-data: nothing is left to measure on: 1 rows"):
        run(data_dir, data=(str(train),), eval_data=(str(train),))


def chats_file(path: Path, *questions: str, **answers: str) -> str:
    answers = {"role": "assistant", "content": "3."} | answers
    chats = [{"messages": [{"role": "user", "content": text}, answers]} for text in questions]
    path.write_text("".join(json.dumps(row) + "\n" for row in chats))
    return str(path)


def test_what_is_held_out_is_not_trained_on_as_general_rows_either(
    data_dir: Path, by: Renderer
) -> None:
    chats = [
        trajectory(conversation(by, f"How many {word}?", ANSWER), source="chat") for word in WORDS
    ]
    write_log(data_dir, chats)
    measure = chats_file(data_dir / "measure.jsonl", "How many kites?")
    general = chats_file(data_dir / "general.jsonl", "How  MANY kites?", "How many larks?")

    prepared = run(data_dir, eval_share=0.3, eval_data=(measure,), general=("log", general))

    agent, log, file = prepared.sources()
    _, held = names(prepared)
    assert sorted(agent.rows.names()) == sorted(log.rows.names())
    assert len(held) == 4
    assert {row.id for row in chats} == {*agent.rows.names(), *held[:3]}
    assert list(file.rows.names()) == ["general.jsonl:2"]
    found = prepared.run.read("selection.json")
    assert found["general-0"]["dropped"] == {"held_out": 3}
    assert found["general-1"]["dropped"] == {"held_out": 1}


def test_what_is_left_out_of_a_file_to_measure_on_counts_as_nothing_else(
    data_dir: Path, log: list[Trajectory]
) -> None:
    question = "Try 0: how many apples?"
    train = chats_file(data_dir / "train.jsonl", question)
    measure = chats_file(data_dir / "measure.jsonl", question, "How many kites?", reasoning="So.")

    prepared = run(data_dir, data=(train,), eval_data=(measure,))

    found = prepared.run.read("selection.json")["held-out"]
    assert (found["kept"], found["dropped"]) == (1, {"trained_on": 1})
    assert found["out_of_form"] == 1


def test_tasks_that_are_tuned_on_may_be_measured_on_and_those_of_a_test_may_not(
    data_dir: Path, log: list[Trajectory], by: Renderer
) -> None:
    measure = data_dir / "measure.jsonl"
    rows = [
        trajectory(conversation(by, f"How many {split}?", ANSWER), metadata={"split": split})
        for split in ("dev", "dev2", "test", "test-kinds")
    ]
    measure.write_text("".join(row.model_dump_json() + "\n" for row in rows))

    prepared = run(data_dir, eval_data=(str(measure),))

    found = prepared.run.read("selection.json")["held-out"]
    assert (found["kept"], found["dropped"]) == (2, {"evaluation_task": 2})


def test_rows_of_one_task_can_not_be_held_out(data_dir: Path, by: Renderer) -> None:
    steps = conversation(by, "How many?", CALL, ANSWER)
    write_log(data_dir, [trajectory(steps, task_id="only") for _ in range(4)])

    with pytest.raises(OperatorError, match="all rows are of one task"):
        run(data_dir, eval_share=0.5)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.35, 0.5])
def test_families_stay_whole_within_the_share(share: float) -> None:
    families = [[0, 1, 2, 3], [4], [5, 6], [7, 8, 9], [10, 11]]

    for seed in range(20):
        held = set(draw(families, share, seed))
        assert all(held.issuperset(family) or held.isdisjoint(family) for family in families)
        assert 0 < len(held) < 12
        assert len(held) <= max(1, share * 12)


def test_patience_needs_something_to_measure(data_dir: Path) -> None:
    settings = FinetuneSettings(data_dir=data_dir, from_logs=True, patience=2)

    with pytest.raises(OperatorError, match="--patience needs --eval-share or --eval-data"):
        settings.check()
