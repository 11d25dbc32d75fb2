"""Rollouts over the wire: against a stand-in that plays the experts' moves, and scores."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from agentlm.environments.db.environment import DbEnvironment
from agentlm.environments.error_classes import Exchange, babbles, classify, complaint
from agentlm.environments.playing.cli import main
from agentlm.environments.playing.demonstration import demonstration
from agentlm.environments.playing.model_player import Decoding, connected
from agentlm.environments.playing.play import play
from agentlm.environments.playing.progress import results_in
from agentlm.errors import OperatorError
from agentlm.messages import ToolCall
from agentlm.store import Selection, Store
from agentlm.trajectory import Outcome, Trajectory
from support.experts import StandIn, stand_in

ENVIRONMENT = DbEnvironment()
COUNT = 6


@pytest.fixture
def server(httpserver: HTTPServer) -> StandIn:
    return stand_in(httpserver, "train", COUNT)


@pytest.fixture
def arguments(httpserver: HTTPServer, tmp_path: Path) -> list[str]:
    where = ["--url", httpserver.url_for(""), "--data-dir", str(tmp_path)]
    return ["--env", "db", "--model", "m", "-n", str(COUNT), *where]


@asynccontextmanager
async def player_of(url: str) -> Any:
    async with connected(url, "m", Decoding()) as player:
        yield player


def log(tmp_path: Path) -> list[Trajectory]:
    store = Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")
    try:
        return list(store.select(Selection()))
    finally:
        store.close()


def test_our_server_is_told_outcome_and_reward_of_each_trajectory(
    server: StandIn, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    assert "6 of 6 solved (100.0%)" in capsys.readouterr().out
    assert server.scores.keys() == {f"traj_{task_id}" for task_id in server.tasks}
    slips = {"call_error", "invented_name"}  # some experts recover from one
    for verdict in server.scores.values():
        assert (verdict["reward"], verdict["outcome"]) == (1.0, "completed")
        assert set(verdict["error_classes"]) <= slips
    assert log(tmp_path) == []


def test_every_request_names_its_task_and_offers_the_actions(
    server: StandIn, arguments: list[str]
) -> None:
    main([*arguments, "--unconstrained", "--tags", "turn=3"])
    for request in server.requests:
        assert request["metadata"]["turn"] == "3"
        assert request["metadata"]["environment"] == "db"
        assert request["metadata"]["task_id"] in server.tasks
        assert request["tools"][0]["function"]["name"] == "sql"
        assert request["constrained"] is False


def test_tries_for_grpo_are_drawn_as_ratios_need_it_and_several_of_each_task(
    server: StandIn, arguments: list[str]
) -> None:
    main([*arguments, "-n", "1", "--for", "grpo"])
    requests = server.requests
    assert {request["metadata"]["try"] for request in requests} == {str(n) for n in range(8)}
    assert {(r["temperature"], r["constrained"]) for r in requests} == {(1.0, False)}
    assert "top_p" not in requests[0]


def test_each_turn_of_each_try_is_drawn_with_noise_of_its_own_and_the_same_when_repeated(
    server: StandIn, arguments: list[str]
) -> None:
    drawn = {}
    for name in ("first", "again"):
        server.requests.clear()
        main([*arguments, "--tries", "2", "--temperature", "0.7", "--name", name])
        drawn[name] = {request["seed"] for request in server.requests}
        assert len(drawn[name]) == len(server.requests)

    assert drawn["first"] == drawn["again"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--temperature", "0.7"], "--for grpo needs --temperature 1.0, got 0.7"),
        (["--player", "gold"], "--for grpo needs --player model, got gold"),
        (["--tries", "1"], "--tries 2 or more"),
    ],
)
def test_what_would_leave_grpo_nothing_to_learn_from_is_refused(
    arguments: list[str], flags: list[str], words: str
) -> None:
    with pytest.raises(OperatorError, match=words):
        main([*arguments, "--for", "grpo", *flags])


def test_another_servers_runs_are_written_into_the_log(
    server: StandIn, arguments: list[str], tmp_path: Path
) -> None:
    server.ours = False
    assert main(arguments) == 0
    trajectories = log(tmp_path)
    assert {t.task_id for t in trajectories} == set(server.tasks)
    for trajectory in trajectories:
        assert (trajectory.reward, trajectory.outcome) == (1.0, Outcome.COMPLETED)
        assert [s.role for s in trajectory.steps[:3]] == ["user", "assistant", "tool"]
        assert trajectory.steps[1].text.startswith("Thought: ")
        assert "\nAction: sql\nAction Input: {" in trajectory.steps[1].text
        assert trajectory.steps[2].text.startswith("Observation: <data>\n")
        assert "\nFinal Answer: [" in trajectory.steps[-1].text


def test_a_rollout_goes_on_where_it_was_killed(
    server: StandIn, arguments: list[str], tmp_path: Path
) -> None:
    main(arguments)
    [file] = tmp_path.glob("rollouts/*/results.jsonl")
    plan = file.read_text().splitlines()[0]
    lines = [result.model_dump_json() for result in results_in(file)]
    file.write_text("\n".join([plan, *lines[:3], lines[3][:20]]))
    done = {json.loads(line)["task_id"] for line in lines[:3]}
    server.requests.clear()
    assert main(arguments) == 0
    assert {r["metadata"]["task_id"] for r in server.requests} == set(server.tasks) - done
    assert len(results_in(file)) == COUNT


def test_a_rollout_is_not_continued_with_other_settings(
    server: StandIn, arguments: list[str]
) -> None:
    main([*arguments, "--name", "x"])
    with pytest.raises(OperatorError, match="seed was 0"):
        main([*arguments, "--name", "x", "--seed", "1"])


@pytest.mark.usefixtures("no_waiting")
def test_a_failing_server_is_an_error_and_never_a_zero(
    server: StandIn, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.failures = 10**6
    assert main([*arguments, "--retries", "0"]) == 1
    assert "0 of 0 solved; 6 failed" in capsys.readouterr().out
    server.failures = 0
    assert main(arguments) == 0
    assert "6 of 6 solved" in capsys.readouterr().out


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("every", [2, 3])
def test_a_server_that_answers_part_of_the_time_loses_nothing(
    server: StandIn, arguments: list[str], capsys: pytest.CaptureFixture[str], every: int
) -> None:
    server.fails_every = every
    flags = [*arguments, "--retries", "9", "--concurrency", "3"]
    assert main(flags) == 0
    assert "6 of 6 solved (100.0%)" in capsys.readouterr().out
    assert {each["reward"] for each in server.scores.values()} == {1.0}


@pytest.mark.usefixtures("no_waiting")
def test_a_score_whose_receipt_is_lost_is_told_again_and_the_task_not_played_again(
    server: StandIn, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    server.score_status = 500
    assert main([*arguments, "--retries", "0"]) == 1
    assert "0 of 0 solved; 6 failed, run again" in capsys.readouterr().out
    taken, server.scores, server.score_status = dict(server.scores), {}, 200
    server.requests.clear()
    assert main(arguments) == 0
    assert "6 of 6 solved" in capsys.readouterr().out
    assert server.requests == []
    assert server.scores == taken
    assert len(taken) == COUNT


@pytest.mark.usefixtures("no_waiting")
def test_a_try_that_the_log_has_lost_is_played_again(server: StandIn, arguments: list[str]) -> None:
    server.score_status = 404
    assert main([*arguments, "--retries", "0"]) == 1
    assert server.scores == {}
    server.score_status = 200
    server.requests.clear()
    assert main(arguments) == 0
    assert {request["metadata"]["task_id"] for request in server.requests} == set(server.tasks)
    assert len(server.scores) == COUNT


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ("<html>", "text/html", "answered text/html"),
        ("[]", "application/json", "answered application/json where JSON was expected"),
        ('{"choices": [{', "application/json", "answered application/json where JSON was"),
        ('{"choices": 7}', "application/json", "JSON that is not a completion: TypeError"),
        ('{"choices": ["x"]}', "application/json", "JSON that is not a completion: TypeError"),
        ('{"choices": [{}]}', "application/json", "not a completion: KeyError('message')"),
        (
            '{"choices": [{"message": {"content": ["x"]}}]}',
            "application/json",
            "JSON that is not a completion: AttributeError",
        ),
        (
            '{"choices": [{"message": {"tool_calls": [{"type": "function"}]}}]}',
            "application/json",
            "not a completion: KeyError('function')",
        ),
    ],
)
def test_a_page_that_is_no_completion_is_an_error_that_says_so(
    httpserver: HTTPServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    body: str,
    kind: str,
    says: str,
) -> None:
    httpserver.expect_request("/v1/models").respond_with_json({"object": "list", "data": []})
    httpserver.expect_request("/v1/chat/completions").respond_with_data(body, mimetype=kind)
    where = ["--url", httpserver.url_for(""), "--data-dir", str(tmp_path)]
    assert main(["--env", "db", "--model", "m", "-n", "1", "--retries", "0", *where]) == 1
    printed = capsys.readouterr()
    assert "0 of 0 solved; 1 failed" in printed.out
    assert says in " ".join(printed.err.split())


@pytest.mark.usefixtures("no_waiting")
def test_a_server_that_stays_down_stops_the_rollout(server: StandIn, arguments: list[str]) -> None:
    server.failures = 10**6
    with pytest.raises(OperatorError, match="8 tries in a row failed"):
        main([*arguments, "-n", "20", "--retries", "0"])


def test_nobody_at_the_url_is_one_clear_line(tmp_path: Path) -> None:
    flags = ["--env", "db", "--model", "m", "--url", "http://127.0.0.1:9"]
    with pytest.raises(OperatorError, match="no OpenAI-compatible server answers"):
        main([*flags, "--data-dir", str(tmp_path)])


def test_a_task_file_without_tasks_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.touch()
    flags = ["--env", "db", "--player", "gold", "--tasks", str(file)]
    with pytest.raises(OperatorError, match="holds no task"):
        main([*flags, "--data-dir", str(tmp_path)])


@pytest.mark.parametrize(
    ("message", "outcome", "classes"),
    [
        ({"content": ""}, Outcome.INVALID, ("invalid_action",)),
        ({"content": "word " * 20_000}, Outcome.COMPLETED, ("repetition",)),
        (
            {"tool_calls": [{"name": "sql", "arguments": json.dumps({"query": "x" * 20_000})}]},
            Outcome.INVALID,
            ("invalid_action",),
        ),
        ({"content": "I'm sorry, as an AI I can't."}, Outcome.COMPLETED, ("refusal",)),
        (
            {"tool_calls": [{"name": "shell", "arguments": "{}"}]},
            Outcome.LIMIT,
            ("invalid_action", "repetition"),
        ),
        (
            {"tool_calls": [{"name": "sql", "arguments": '{"query": "SELEC"}'}]},
            Outcome.LIMIT,
            ("repetition", "call_error"),
        ),
    ],
)
async def test_what_a_model_does_wrong_is_classified(
    server: StandIn, httpserver: HTTPServer, message: Any, outcome: Outcome, classes: Any
) -> None:
    for call in message.get("tool_calls", ()):
        call |= {"id": "call_1", "type": "function", "function": dict(call)}
    server.reply = {"role": "assistant", "content": None, **message}
    task = next(iter(server.tasks.values()))
    async with player_of(httpserver.url_for("")) as player:
        run = await play(ENVIRONMENT, task, player)
    assert (run.outcome, run.error_classes, run.reward) == (outcome, classes, 0.0)


def test_calls_are_checked_against_the_tools_before_they_run() -> None:
    [tool] = ENVIRONMENT.tools()

    def complaint_about(name: str, arguments: str) -> str | None:
        return complaint(ToolCall(id="c", name=name, arguments=arguments), [tool])

    assert complaint_about("sql", '{"query": "SELECT 1"}') is None
    assert "unknown tool 'bash'" in str(complaint_about("bash", "{}"))
    assert "not a JSON object" in str(complaint_about("sql", "SELECT 1"))
    assert "'query' is missing" in str(complaint_about("sql", "{}"))
    assert "of type string" in str(complaint_about("sql", '{"query": 1}'))


def test_repetition_is_three_equal_calls_running_or_one_phrase_over_and_over() -> None:
    call = ToolCall(id="c", name="sql", arguments="{}")
    other = ToolCall(id="c", name="sql", arguments='{"query": ""}')
    assert classify([Exchange(call=call)] * 3) == ("repetition",)
    assert classify([Exchange(call=c) for c in (call, call, other, call, call)]) == ()
    assert babbles("so I look at the table once more and " * 7)
    assert not babbles("I look at the table and count its rows by their home port")


async def test_the_one_shot_prompt_is_a_solved_training_task_as_a_conversation() -> None:
    messages = await demonstration(ENVIRONMENT, seed=0)
    assert [m.role for m in messages[:3]] == ["user", "assistant", "tool"]
    assert messages[1].tool_calls[0].id == messages[2].tool_call_id
    assert "Final Answer: [" in messages[-1].content


def _calls_half_a_character() -> dict[str, Any]:
    function = {"name": "sql", "arguments": '{"query": "SELECT \\ud800"}'}
    call = {"id": "c", "type": "function", "function": function}
    return {"role": "assistant", "content": "\udfff", "tool_calls": [call]}


@pytest.mark.parametrize(
    "reply",
    [{"role": "assistant", "content": '["\ud800"]'}, _calls_half_a_character()],
    ids=["answer", "call"],
)
def test_half_a_character_of_another_servers_model_is_the_players_and_ends_nothing(
    server: StandIn, arguments: list[str], tmp_path: Path, reply: dict[str, Any]
) -> None:
    server.ours, server.reply = False, reply
    assert main(arguments) == 0
    kept = log(tmp_path)
    assert [run.reward for run in kept] == [0.0] * COUNT
