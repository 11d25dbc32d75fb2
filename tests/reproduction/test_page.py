"""The page shows what was measured by the plan's own runs, and of nothing else a number."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agentlm.commands.reproduction.experiment import Experiment
from agentlm.commands.reproduction.page import write_page
from agentlm.commands.reproduction.plan import Plan
from agentlm.commands.reproduction.results import Results, read_results
from agentlm.environments.evaluation.floors import summed_up
from agentlm.environments.evaluation.general_ability.probe import Ability
from agentlm.environments.evaluation.report import Report, row_of
from agentlm.environments.playing.model_player import PlayedModel
from agentlm.environments.playing.progress import Result
from agentlm.errors import OperatorError
from agentlm.files import write_text
from agentlm.models.cards import ModelCard
from agentlm.trajectory import Outcome
from support.machines import FakeMachine, run

PLAN: dict[str, Any] = {
    "about": "A test.",
    "base": "tiny",
    "rates": {},
    "steps": [
        {"name": "base", "run": "agentlm eval --model tiny --name base", "served": "tiny"},
        {"name": "train", "run": "agentlm finetune --name mine --data gold.jsonl"},
        {"name": "mine", "run": "agentlm eval --model mine --name mine", "served": "mine"},
        {"name": "more", "run": "agentlm eval --model x --name more", "needs": ["x"]},
    ],
    "comparisons": [
        {"candidate": "mine", "base": "base", "says": "Does it learn?"},
        {"candidate": "more", "base": "base", "says": "And this?"},
    ],
}
TASKS = 40


def evaluation(directory: Path, model: str, solved: int, weights: str, **settings: str) -> None:
    """Write what an evaluation leaves."""
    tries = [
        Result(
            task_id=f"db-{number}",
            attempt=0,
            environment="db",
            family="counting",
            template="t",
            outcome=Outcome.COMPLETED,
            reward=float(number < solved),
            calls=2,
            invented=number % 2,
        )
        for number in range(TASKS)
    ]
    row = row_of(
        tries,
        environment="db",
        model=model,
        decoding="unconstrained",
        played=PlayedModel(name=model, url="http://x/v1", weights_version=weights),
        results_file="tries.jsonl",
        asked=TASKS,
        floors=summed_up([]),
    )
    scores = tuple(float(case % 4 == 0) for case in range(20))
    nll = tuple(10.0 + (model == "mine") for _ in range(20))
    abilities = (
        Ability(measure="instructions", model=model, value=0.25, cases=20, scores=scores),
        Ability(
            measure="perplexity",
            model=model,
            value=20.0,
            cases=20,
            scores=nll,
            tokens=(10,) * 20,
        ),
    )
    report = Report(
        settings={"split": "dev", "seed": 0} | settings,
        rows=(row,),
        differences=(),
        abilities=abilities,
    )
    write_text(directory / "report.json", report.model_dump_json())
    lines = ["{}", *(one.model_dump_json() for one in tries)]
    write_text(directory / "tries.jsonl", "\n".join(lines) + "\n")


def training(directory: Path) -> None:
    """What a training leaves."""
    drawn = {"computed_tokens": 190_000, "trained_tokens": 98_000, "seconds": 1680.0}
    report = {
        "name": "mine",
        "recipe": {"base": "tiny"},
        "sources": {"agent": {"rows": 750}, "general-0": {"rows": 90}},
        "drawn": drawn,
        "steps_done": 20,
        "loss": [2.0, 1.5, *[0.5] * 16, 0.1, 0.2],
        "held_out_loss": [[10, 0.9], [20, 0.7]],
    }
    write_text(directory / "report.json", json.dumps(report))


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    run(Plan.model_validate(PLAN), FakeMachine(tmp_path))
    training(tmp_path / "runs" / "mine")
    card = ModelCard(name="mine", source="local", location="/", weights_version="w1")
    write_text(tmp_path / "models" / "cards" / "mine.json", card.model_dump_json())
    for model, name, solved, weights in (("tiny", "base", 0, "w0"), ("mine", "mine", 16, "w1")):
        evaluation(tmp_path / "evaluations" / name, model, solved, weights)
    return Experiment(tmp_path)


def page(results: Results, directory: Path) -> str:
    files = write_page(Plan.model_validate(PLAN), "quick", results, directory / "reproduction.md")
    assert all(file.is_file() for file in files)
    return files[0].read_text()


def results(experiment: Experiment) -> Results:
    return read_results(Plan.model_validate(PLAN), experiment)


def test_what_was_measured_stands_there(experiment: Experiment, tmp_path: Path) -> None:
    markdown = page(results(experiment), tmp_path)

    assert "| mine | tiny | agent 750, general-0 90 | 190,000 | 98,000 | 20 |" in markdown
    assert "| 1.75 to 0.15 | 0.90 to 0.70 | 28 min |" in markdown
    assert "| mine | mine | db | dev | unconstrained | 40.0% | 26.3 … 55.4 |" in markdown
    assert "| Does it learn? | mine | base | db | unconstrained | +40.0 | " in markdown
    assert "| mine | base | perplexity | × 1.105 (1.105 … 1.105) | 20 |" in markdown
    assert "| mine | base | instructions | +0.0 (0.0 … 0.0) | 20 |" in markdown
    assert "| mine | 40.0% | not measured | not measured |" in markdown
    assert "counting 16 of 40" in markdown
    assert "(reproduction-success.png)" in markdown
    assert (tmp_path / "reproduction-loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_is_a_table(experiment: Experiment, tmp_path: Path) -> None:
    """In Markdown an empty line ends one, and every line has as many cells as the first."""
    lines = page(results(experiment), tmp_path).splitlines()

    for before, line in pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert before.count("|") == line.count("|"), line
    assert sum(re.fullmatch(r"[|-]+", line) is not None for line in lines) == 6
    assert "{" not in "".join(lines)


def test_of_what_is_not_done_there_is_no_number(experiment: Experiment, tmp_path: Path) -> None:
    mark = tmp_path / "steps" / "mine.json"
    begun = json.loads(mark.read_text()) | {"ended": None}
    mark.write_text(json.dumps(begun))

    markdown = page(results(experiment), tmp_path)

    assert "2 of 4 steps are done" in markdown
    assert "Not done, so nothing is said of it: mine, more." in markdown
    assert "40.0%" not in markdown
    assert "Does it learn?" not in markdown
    for name in ("base", "train"):
        (tmp_path / "steps" / f"{name}.json").unlink()
    assert not re.search(r"\d%", page(results(experiment), tmp_path))


def test_an_evaluation_of_another_model_of_that_name_is_refused(
    experiment: Experiment, tmp_path: Path
) -> None:
    evaluation(tmp_path / "evaluations" / "mine", "mine", 40, "of another machine")

    with pytest.raises(OperatorError, match="the evaluation mine is of mine with the weights of"):
        results(experiment)


def test_evaluations_of_other_questions_are_not_compared(
    experiment: Experiment, tmp_path: Path
) -> None:
    evaluation(tmp_path / "evaluations" / "mine", "mine", 40, "w1", split="dev2")

    with pytest.raises(OperatorError, match="mine and base can't be compared: split is dev2 and"):
        results(experiment)


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("evaluations/mine/report.json", "holds no evaluation"),
        ("evaluations/mine/tries.jsonl", "the tries of mine can't be read"),
        ("runs/mine/report.json", "can't be read"),
    ],
)
def test_a_damaged_result_is_named(
    experiment: Experiment, tmp_path: Path, file: str, complaint: str
) -> None:
    (tmp_path / file).write_text("x\n}")

    with pytest.raises(OperatorError, match=complaint):
        results(experiment)
