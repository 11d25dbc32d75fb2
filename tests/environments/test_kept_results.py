"""What was measured of one model is never taken for another's, and never for another question's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from agentlm.environments.db.environment import DbEnvironment
from agentlm.environments.evaluation.cli import main as evaluate
from agentlm.environments.playing.cli import main as roll_out
from agentlm.environments.playing.model_player import client_of, played_model
from agentlm.environments.playing.play import Play
from agentlm.environments.playing.progress import Kept, Progress, Result
from agentlm.environments.task import Task
from agentlm.errors import OperatorError
from agentlm.trajectory import Outcome
from support.experts import StandIn, stand_in

COUNT = 3
Main = Callable[[Sequence[str]], int]


@pytest.fixture
def server(httpserver: HTTPServer) -> StandIn:
    return stand_in(httpserver, "test", COUNT)


@pytest.fixture
def arguments(httpserver: HTTPServer, tmp_path: Path) -> list[str]:
    size = ["-n", str(COUNT), "--split", "test", "--model", "mine"]
    return ["--env", "db", *size, "--url", httpserver.url_for(""), "--data-dir", str(tmp_path)]


def rates(tmp_path: Path) -> list[float]:
    [file] = tmp_path.glob("evaluations/*/report.json")
    return [row["success"] for row in json.loads(file.read_text())["rows"]]


def played(server: StandIn) -> int:
    """Tasks that it was asked for since this was last called."""
    tasks = {request["metadata"]["task_id"] for request in server.requests}
    server.requests.clear()
    return len(tasks)


def one_way(arguments: list[str]) -> list[str]:
    return [*arguments, "--decoding", "unconstrained"]


def test_one_name_on_two_servers_is_two_models(
    server: StandIn, arguments: list[str], tmp_path: Path
) -> None:
    with HTTPServer(port=0) as other:
        stand_in(other, "test", COUNT).weak_models = {"mine"}
        base = ["--base", "mine", "--base-url", other.url_for("")]
        assert evaluate([*one_way(arguments), *base]) == 0
    assert rates(tmp_path) == [0.0, 1.0]
    [file] = tmp_path.glob("evaluations/*/report.json")
    report = json.loads(file.read_text())
    assert report["differences"][0]["difference"] == 1.0
    assert len({row["model"] for row in report["rows"]}) == 2


def test_a_model_is_not_compared_with_itself(arguments: list[str]) -> None:
    with pytest.raises(OperatorError, match="--base and --model are both mine at one"):
        evaluate([*arguments, "--base", "mine"])
    with pytest.raises(OperatorError, match="--base-url is given without --base"):
        evaluate([*arguments, "--base-url", "http://127.0.0.1:1"])


def test_the_same_name_on_another_server_is_measured_anew(
    server: StandIn, arguments: list[str], tmp_path: Path
) -> None:
    evaluate(one_way(arguments))
    with HTTPServer(port=0) as other:
        stand_in(other, "test", COUNT).weak_models = {"mine"}
        evaluate([*one_way(arguments), "--url", other.url_for("")])
    assert rates(tmp_path) == [0.0]


def test_a_model_that_was_trained_again_under_its_name_is_measured_anew(
    server: StandIn, arguments: list[str], tmp_path: Path
) -> None:
    server.weights = {"mine": "v1", "other": "x"}
    evaluate(one_way(arguments))
    server.weights, server.weak_models = {"mine": "v2", "other": "x"}, {"mine"}
    evaluate(one_way(arguments))
    assert rates(tmp_path) == [0.0]


@pytest.mark.parametrize(
    "change",
    [
        ["--seed", "1"],
        ["--temperature", "0.5"],
        ["--max-tokens", "16"],
        ["--one-shot"],
        ["--split", "dev"],
    ],
    ids=lambda change: change[0],
)
@pytest.mark.parametrize("main", [evaluate, roll_out], ids=["eval", "rollout"])
def test_results_belong_to_the_settings_they_came_from(
    server: StandIn, arguments: list[str], main: Main, change: list[str]
) -> None:
    environment = DbEnvironment()
    for split, seed in (("test", 1), ("dev", 0)):
        tasks = environment.generate(split, seed)  # type: ignore[arg-type]
        server.tasks |= {task.id: task for task, _ in zip(tasks, range(COUNT), strict=False)}
    server.ours = False
    flags = ["--decoding", "unconstrained"] if main is evaluate else ["--player", "model"]
    command = [*arguments, *flags, "--name", "x"]
    assert main(command) == 0
    assert played(server) == COUNT
    assert main(command) == 0
    assert played(server) == 0
    if main is roll_out:
        with pytest.raises(OperatorError, match="is of another rollout"):
            main([*command, *change])
        command.append("--fresh")
    assert main([*command, *change]) == 0
    assert played(server) == COUNT


def test_a_task_file_counts_by_its_content(
    server: StandIn, arguments: list[str], tmp_path: Path
) -> None:
    def write(label: str) -> None:
        table = {"table_name": "t", "table_info": {"columns": [], "rows": []}}
        table["table_info"] = {"columns": [{"name": "a", "type": "INT"}], "rows": [[1]]}
        task = {"description": "What is a?", "label": [label], "type": ["other"], "table": table}
        file.write_text(json.dumps({**task, "add_description": "", "create": {}}) + "\n")

    file = tmp_path / "tasks.jsonl"
    write("1")
    server.ours, server.reply = False, {"role": "assistant", "content": '["2"]'}
    server.tasks = dict.fromkeys([task.id for task in DbEnvironment().load(file, "test")])  # type: ignore[arg-type]
    evaluate([*one_way(arguments), "--tasks", str(file)])
    assert rates(tmp_path) == [0.0]
    write("2")
    server.tasks = dict.fromkeys([task.id for task in DbEnvironment().load(file, "test")])  # type: ignore[arg-type]
    evaluate([*one_way(arguments), "--tasks", str(file)])
    assert rates(tmp_path) == [1.0]


def test_fewer_tasks_are_a_part_of_what_is_kept_and_more_are_played(
    server: StandIn, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate([*one_way(arguments), "-n", "2"])
    assert played(server) == 2
    evaluate([*one_way(arguments), "-n", "3"])
    assert played(server) == 1
    assert "2 tries kept from 20" in capsys.readouterr().out
    evaluate([*one_way(arguments), "-n", "1"])
    assert played(server) == 0
    [file] = tmp_path.glob("evaluations/*/report.json")
    assert json.loads(file.read_text())["rows"][0]["judged"] == 1


@pytest.mark.parametrize("main", [evaluate, roll_out], ids=["eval", "rollout"])
def test_fresh_forgets_what_is_kept(
    server: StandIn, arguments: list[str], main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    server.ours = False
    main(arguments)
    assert played(server) == COUNT
    capsys.readouterr()
    main([*arguments, "--fresh"])
    assert played(server) == COUNT
    printed = capsys.readouterr()
    assert "kept from" not in printed.out + printed.err


def test_a_rollout_says_what_it_keeps_and_refuses_another_server(
    server: StandIn, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    server.weights = {"mine": "v1"}
    roll_out(arguments)
    roll_out(arguments)
    assert f"{COUNT} tries kept from 20" in capsys.readouterr().err
    server.weights = {"mine": "v2"}
    with pytest.raises(OperatorError, match=r"model was .*'v1'.* and is .*'v2'"):
        roll_out(arguments)


def test_weights_that_change_while_they_play_end_the_run(
    server: StandIn, arguments: list[str], tmp_path: Path
) -> None:
    server.weights = {"mine": "v1"}
    answer = server.complete

    def promote(request: Any) -> Any:
        server.weights = {"mine": "v2"}
        return answer(request)

    server.complete = promote  # type: ignore[method-assign]
    with HTTPServer(port=0) as other:
        other.expect_request("/v1/models").respond_with_handler(server.list_models)
        other.expect_request("/v1/chat/completions").respond_with_handler(promote)
        with pytest.raises(OperatorError, match="its weights were v1 and are now v2"):
            evaluate([*one_way(arguments), "--url", other.url_for("")])
    assert not list(tmp_path.glob("evaluations/*/report.json"))


def test_weights_that_change_where_only_answers_tell_their_version_end_the_run_too(
    server: StandIn, httpserver: HTTPServer, arguments: list[str]
) -> None:
    answer = server.complete

    def promote(request: Any) -> Any:
        server.weights = {"mine": f"v{len(server.requests)}"}
        return answer(request)

    with HTTPServer(port=0) as other:
        other.expect_request("/v1/models").respond_with_data("[]")
        other.expect_request("/v1/chat/completions").respond_with_handler(promote)
        with pytest.raises(OperatorError, match="its weights were v0 and are now v1"):
            evaluate([*one_way(arguments), "--url", other.url_for(""), "--concurrency", "1"])


def test_weights_that_change_between_two_rows_are_named(
    server: StandIn, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    server.weights = {"mine": "v1"}
    listed = server.list_models
    lists = 0

    def promote(request: Any) -> Any:
        nonlocal lists
        lists += 1
        server.weights = {"mine": "v1" if lists <= 2 else "v2"}
        return listed(request)

    with HTTPServer(port=0) as other:
        other.expect_request("/v1/models").respond_with_handler(promote)
        other.expect_request("/v1/chat/completions").respond_with_handler(server.complete)
        evaluate([*arguments, "--url", other.url_for("")])
    assert "mine: its weights changed between the rows" in capsys.readouterr().out


def test_a_rollout_that_goes_on_says_that_its_server_tells_no_version(
    server: StandIn, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    roll_out(arguments)
    assert "tells no version of its weights" not in capsys.readouterr().err
    roll_out(arguments)
    assert "tells no version of its weights" in capsys.readouterr().err


def test_a_report_of_something_else_is_set_aside_and_one_of_the_same_is_replaced(
    server: StandIn, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "evaluations" / "x"
    command = [*arguments, "--name", "x"]

    def rows(file: Path) -> list[str]:
        return [row["decoding"] for row in json.loads(file.read_text())["rows"]]

    def earlier(suffix: str) -> list[Path]:
        return sorted(directory.glob(f"report-*.{suffix}"))

    evaluate([*command, "--decoding", "constrained"])
    page = (directory / "report.html").read_text()
    evaluate([*command, "--decoding", "unconstrained"])
    [kept] = earlier("json")
    assert (rows(kept), rows(directory / "report.json")) == (["constrained"], ["unconstrained"])
    assert kept.with_suffix(".html").read_text() == page
    assert kept.with_suffix(".png").is_file()
    assert f"an earlier report, of something else, is now {kept}" in capsys.readouterr().out
    evaluate([*command, "--decoding", "unconstrained", "--fresh"])
    evaluate([*command, "--decoding", "both"])
    assert earlier("json") == [kept]
    evaluate([*command, "--decoding", "constrained"])
    assert len(earlier("json")) == 2
    (directory / "report.json").write_text("{half")
    evaluate([*command, "--decoding", "constrained"])
    assert [file.read_text() for file in directory.glob("report-earlier-*.json")] == ["{half"]


def test_a_server_that_tells_no_version_is_named(
    server: StandIn, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(one_way(arguments))
    assert "tells no version of its weights" in capsys.readouterr().out
    server.weights = {"mine": "v1"}
    evaluate(one_way(arguments))
    assert "tells no version" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "body", ["nothing", "[]", '{"data": null}', '{"data": [7, {"id": "m", "weights_version": 5}]}']
)
async def test_a_list_of_models_of_any_form_is_survived(httpserver: HTTPServer, body: str) -> None:
    httpserver.expect_request("/v1/models").respond_with_data(body, mimetype="application/json")
    async with client_of(httpserver.url_for(""), None) as client:
        model = await played_model(client, "m")
    assert (model.name, model.weights_version) == ("m", None)


def test_a_password_in_the_url_is_written_nowhere(
    server: StandIn, arguments: list[str], httpserver: HTTPServer, tmp_path: Path
) -> None:
    url = httpserver.url_for("").replace("http://", "http://me:secret@")
    evaluate([*one_way(arguments), "--url", url])
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"secret" not in file.read_bytes()


def test_what_broke_in_whatever_characters_is_kept_and_read_again(tmp_path: Path) -> None:
    task = Task(
        environment="e",
        template="t\u2028",
        family="f\x85",
        split="dev",
        instruction="i",
        parameters={},
    )
    broken = Play(task, 0, (), "", broken=OSError("\udc80\u2029"), outcome=Outcome.ERROR)
    done = Play(task, 1, (), "", reward=1.0)
    with closing(Progress(tmp_path / "r.jsonl", {"a": 1})) as progress:
        for run in (broken, done):
            progress.add(Result.of(run, Kept("traj_1", "server")))
        assert [result.attempt for result in progress.pending()] == [1]
    with closing(Progress(tmp_path / "r.jsonl", {"a": 1})) as again:
        assert [result.family for result in again.results()] == ["f\x85"]
        assert (again.has(task.id, 0), again.has(task.id, 1)) == (False, True)
        assert again.pending() == again.results()


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    with (
        closing(Progress(file, {"a": 1})),
        pytest.raises(OperatorError, match="being written by another process"),
        closing(Progress(file, {"a": 1})),
    ):
        pass
    with closing(Progress(file, {"a": 1})) as again:
        assert again.kept() is None
