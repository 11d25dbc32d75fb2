"""An evaluation: intervals, base beside candidate, and nothing partial passed off as whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from agentlm.environments.evaluation.cli import main
from agentlm.environments.evaluation.floors import summed_up
from agentlm.environments.evaluation.report import difference_of, row_of
from agentlm.environments.evaluation.statistics import paired_bootstrap, wilson
from agentlm.environments.playing.model_player import PlayedModel
from agentlm.environments.playing.progress import Result
from agentlm.jobs.evaluations import Evaluations
from agentlm.trajectory import Outcome
from support.experts import StandIn, stand_in


@pytest.fixture
def server(httpserver: HTTPServer) -> StandIn:
    return stand_in(httpserver, "test", 8)


@pytest.fixture
def arguments(httpserver: HTTPServer, tmp_path: Path) -> list[str]:
    where = ["--url", httpserver.url_for(""), "--data-dir", str(tmp_path)]
    return ["--env", "db", "-n", "8", "--decoding", "unconstrained", *where]


def report(tmp_path: Path) -> dict[str, list[dict[str, object]]]:
    [file] = tmp_path.glob("evaluations/*/report.json")
    loaded: dict[str, list[dict[str, object]]] = json.loads(file.read_text())
    return loaded


def result(task: str, reward: float | None, outcome: Outcome = Outcome.COMPLETED) -> Result:
    return Result(
        task_id=task,
        attempt=0,
        environment="db",
        family="counting",
        template="t",
        outcome=outcome,
        reward=reward,
    )


def test_base_and_candidate_are_measured_on_the_same_tasks(
    server: StandIn, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.weak_models = {"base"}
    assert main([*arguments, "--model", "mine", "--base", "base"]) == 0
    written = report(tmp_path)
    base, mine = written["rows"]
    assert (base["model"], base["success"], mine["success"]) == ("base", 0.0, 1.0)
    [difference] = written["differences"]
    assert (difference["difference"], difference["tasks"]) == (1.0, 8)
    printed = capsys.readouterr().out.splitlines()
    assert "db, unconstrained" in map(str.strip, printed)
    numbers = [line.split()[1:] for line in printed if " mine " in line]
    assert [len(cells) for cells in numbers[:3]] == [8, 5, 8]  # nothing folds in 80 columns
    kept = Evaluations(tmp_path)
    [one] = kept.list()
    assert one.report is not None
    assert [row.success for row in one.report.rows] == [0.0, 1.0]
    runs = list(kept.runs(one.id))
    assert len({run.id for run in runs}) == 16
    assert all(run.trajectory_id and run.instruction for run in runs)
    assert {(run.model, run.group is None) for run in runs} == {("base", False), ("mine", True)}
    [picture] = tmp_path.glob("evaluations/*/report.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_base_can_be_on_a_server_of_its_own(server: StandIn, arguments: list[str]) -> None:
    with HTTPServer(port=0) as other:
        theirs = stand_in(other, "test", 8)
        flags = ["--model", "mine", "--base", "base", "--base-url", other.url_for("")]
        assert main([*arguments, *flags]) == 0
    assert {request["model"] for request in theirs.requests} == {"base"}
    assert {request["model"] for request in server.requests} == {"mine"}


def test_runs_of_an_evaluation_are_never_rewarded_in_the_log(
    server: StandIn, arguments: list[str]
) -> None:
    main([*arguments, "--model", "mine"])
    assert len(server.scores) == 8
    assert {score["reward"] for score in server.scores.values()} == {None}


def test_an_incomplete_row_says_so(
    server: StandIn,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    no_waiting: None,
) -> None:
    server.failures = 3
    flags = ["--model", "mine", "--retries", "0", "--concurrency", "1"]
    assert main([*arguments, *flags]) == 1
    assert "incomplete" in capsys.readouterr().out
    [row] = report(tmp_path)["rows"]
    assert (row["asked"], row["judged"], row["failed"]) == (8, 7, 1)
    assert main([*arguments, *flags]) == 0
    [row] = report(tmp_path)["rows"]
    assert (row["judged"], row["failed"], row["success"]) == (8, 0, 1.0)


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    assert wilson(0.0, 80) == pytest.approx((0.0, 0.0458), abs=1e-4)
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_the_bootstrap_is_the_same_for_the_same_seed_and_covers_the_mean() -> None:
    differences = [1.0] * 6 + [0.0] * 10 + [-1.0] * 2
    low, high = paired_bootstrap(differences, seed=1)
    assert (low, high) == paired_bootstrap(differences, seed=1)
    assert low < sum(differences) / len(differences) < high


def test_failed_tries_count_in_no_rate_and_unpaired_tasks_in_no_difference() -> None:
    base = [result("a", 1.0), result("b", 0.0), result("c", None, Outcome.ERROR)]
    mine = [result("a", 1.0), result("c", 1.0), result("b", 1.0)]
    played = PlayedModel(name="m", url="http://127.0.0.1:8000/v1")
    row = row_of(
        base,
        environment="db",
        model="m",
        decoding="default",
        played=played,
        results_file="tries.jsonl",
        asked=3,
        floors=summed_up([]),
    )
    assert (row.success, row.judged, row.failed, row.complete) == (0.5, 2, 1, False)
    difference = difference_of(
        base, mine, names=("b", "m"), environment="db", decoding="default", seed=0
    )
    assert (difference.tasks, difference.difference) == (2, 0.5)
