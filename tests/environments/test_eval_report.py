"""What a report shows beside the rates: floors, kinds, clusters, and every failed run."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pytest_httpserver import HTTPServer

from agentlm.agent.tool import Observation
from agentlm.console import Console
from agentlm.environments.db.environment import DbEnvironment
from agentlm.environments.evaluation import family as family_module
from agentlm.environments.evaluation.cli import main
from agentlm.environments.evaluation.floors import measure, summed_up
from agentlm.environments.evaluation.report import difference_of
from agentlm.environments.evaluation.statistics import paired_bootstrap
from agentlm.environments.evaluation.transcripts import TranscriptRecorder, transcripts
from agentlm.environments.playing import display as display_module
from agentlm.environments.playing.display import Display
from agentlm.environments.playing.play import Play, play
from agentlm.environments.playing.players import EmptyPlayer, Reply
from agentlm.environments.playing.progress import Result
from agentlm.environments.playing.recording import NoRecorder
from agentlm.environments.task import OBSERVED, Action, Move, Task
from agentlm.messages import Message, ToolCall, ToolSpec
from agentlm.trajectory import Outcome
from support.experts import StandIn, stand_in

COUNT = 4
ATTACK = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>"


def task(number: int, answer: str, family: str = "counting") -> Task:
    return Task(
        environment="db",
        template="t",
        family=family,
        split="dev",
        instruction=f"Question {number}",
        parameters={"answer": answer},
        gold=(Move(thought="", answer=OBSERVED if answer == "seen" else answer),),
    )


class Quiz:
    """A world in which the answer is all that counts."""

    name = "db"
    max_turns = 3

    def tools(self) -> tuple[ToolSpec, ...]:
        return DbEnvironment().tools()

    def prompt(self, task: Task) -> str:
        return task.instruction

    @asynccontextmanager
    async def open(self, task: Task) -> AsyncIterator[Any]:
        if task.parameters["answer"] == "broken":
            raise OSError("the world broke")
        yield OpenQuiz(task)


class OpenQuiz:
    def __init__(self, task: Task) -> None:
        self._right = task.parameters["answer"]

    async def act(self, action: Action) -> Observation:
        return Observation("nothing")

    async def score(self, answer: str) -> float:
        return float(answer == self._right)


async def test_the_best_constant_answer_is_found_for_all_and_for_each_family() -> None:
    answers = ["4", "4", "4", "9", "7"]
    tasks = [task(n, answer) for n, answer in enumerate(answers)]
    tasks += [task(10, "x", "other"), task(11, "x", "other")]
    floors = summed_up(await measure(Quiz(), tasks, 0, 4))  # type: ignore[arg-type]
    assert (floors.all.answer, floors.all.constant, floors.all.tasks) == ("4", 3 / 7, 7)
    assert (floors.families["other"].answer, floors.families["other"].constant) == ("x", 1.0)
    assert floors.families["counting"].constant == 3 / 5


async def test_a_world_that_breaks_counts_for_nobody() -> None:
    tasks = [task(1, "4"), task(2, "broken")]
    floors = summed_up(await measure(Quiz(), tasks, 0, 4))  # type: ignore[arg-type]
    assert (floors.all.tasks, floors.all.constant) == (1, 1.0)


async def test_floors_of_generated_tasks_are_low() -> None:
    environment = DbEnvironment()
    stream = environment.generate("dev")
    tasks = [next(stream) for _ in range(30)]
    floors = summed_up(await measure(environment, tasks, 0, 8))
    assert floors.all.tasks == 30
    assert floors.all.constant < 0.3
    assert floors.all.random < 0.1


def test_clusters_widen_an_interval_and_pairs_alone_do_not() -> None:
    differences = [1.0] * 20 + [0.0] * 20
    alone = paired_bootstrap(differences, 0)
    of_two = paired_bootstrap(differences, 0, ["a"] * 20 + ["b"] * 20)
    of_each = paired_bootstrap(differences, 0, [str(number) for number in range(40)])
    assert of_two == (0.0, 1.0)
    assert alone[0] > 0.3
    assert of_each == pytest.approx(alone, abs=0.05)


def result(number: int, cluster: str, reward: float) -> Result:
    return Result(
        task_id=f"t{number}",
        attempt=0,
        environment="db",
        family="f",
        template="t",
        cluster=cluster,
        outcome=Outcome.COMPLETED,
        reward=reward,
    )


def test_a_difference_says_from_how_many_clusters_it_comes() -> None:
    base = [result(number, f"c{number % 3}", 0.0) for number in range(9)]
    mine = [result(number, f"c{number % 3}", float(number % 3 > 0)) for number in range(9)]
    difference = difference_of(
        base, mine, names=("b", "m"), environment="db", decoding="default", seed=0
    )
    assert (difference.tasks, difference.clusters) == (9, 3)
    assert difference.interval == (0.0, 1.0)


@pytest.fixture
def server(httpserver: HTTPServer) -> StandIn:
    return stand_in(httpserver, "dev", COUNT)


@pytest.fixture
def arguments(httpserver: HTTPServer, tmp_path: Path) -> list[str]:
    what = ["--env", "db", "-n", str(COUNT), "--split", "dev", "--decoding", "unconstrained"]
    where = ["--url", httpserver.url_for(""), "--data-dir", str(tmp_path)]
    return [*what, "--model", "mine", *where]


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = file.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(tmp_path: Path) -> Page:
    [file] = tmp_path.glob("evaluations/*/report.html")
    return Page(file)


def calling(query: str) -> dict[str, Any]:
    function = {"name": "sql", "arguments": json.dumps({"query": query})}
    call = {"id": "c", "type": "function", "function": function}
    thought = f"I look. {ATTACK}"
    return {
        "role": "assistant",
        "content": None,
        "reasoning_content": thought,
        "tool_calls": [call],
    }


def test_every_failed_run_can_be_read_under_its_class(
    server: StandIn, arguments: list[str], tmp_path: Path
) -> None:
    server.ours, server.reply = False, calling("SELECT `Ward` FROM `Hospital`")
    assert main(arguments) == 0
    html = page(tmp_path)
    assert f"invented name: {COUNT}" in html.text
    for each in server.tasks.values():
        assert each.instruction in html.text
        assert (each.gold[-1].answer or "") in html.text
    assert html.text.count("SELECT `Ward` FROM `Hospital`") >= COUNT
    assert "no such table" in html.text.lower() or "doesn't exist" in html.text.lower()
    assert [tag for tag, _ in html.tags].count("mark") >= 2 * COUNT


def test_what_models_and_tools_say_is_text_on_a_page_that_needs_no_network(
    server: StandIn, arguments: list[str], tmp_path: Path
) -> None:
    server.ours, server.reply = False, calling(f"SELECT '{ATTACK} \u202egnp.exe'")
    server.weights = {f"<b onclick=alert(1)>{ATTACK}": "v"}
    assert main([*arguments, "--model", f"<b onclick=alert(1)>{ATTACK}", "--name", "x"]) == 0
    html = page(tmp_path)
    assert not {"script", "b", "link", "iframe", "object", "form"} & {tag for tag, _ in html.tags}
    for tag, attributes in html.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href"):
            assert re.match(r"data:image/png;base64,|#|$", attributes.get(name) or ""), attributes
    assert ATTACK in html.text
    assert "\u202e" not in html.source
    assert "\\u202egnp.exe" in html.text
    assert "light-dark(" in html.source
    assert "default-src 'none'" in html.source


def test_right_answers_of_the_test_set_are_shown_on_request_alone(
    httpserver: HTTPServer, arguments: list[str], tmp_path: Path
) -> None:
    server = stand_in(httpserver, "test", COUNT)
    server.ours, server.reply = False, {"role": "assistant", "content": "?"}
    command = [*arguments, "--split", "test"]
    thoughts = {move.thought for each in server.tasks.values() for move in each.gold}
    main(command)
    assert not [thought for thought in thoughts if thought and thought in page(tmp_path).text]
    server.requests.clear()
    main([*command, "--answers"])
    assert all(thought in page(tmp_path).text for thought in thoughts)
    assert not server.requests


def test_solved_runs_are_not_among_the_failed_and_the_other_models_try_is_named(
    server: StandIn, arguments: list[str], tmp_path: Path
) -> None:
    server.weak_models = {"base"}
    main([*arguments, "--base", "base"])
    html = page(tmp_path)
    assert f"Failed runs: {COUNT}" in html.text
    assert html.text.count("mine, unconstrained: solved") == COUNT


def test_with_nothing_left_to_play_no_world_is_opened(
    server: StandIn, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(arguments)
    before = page(tmp_path).source
    server.requests.clear()

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a world was opened")

    monkeypatch.setattr(family_module, "opened", refuse)
    assert main(arguments) == 0
    assert page(tmp_path).source == before
    assert not server.requests


def test_tasks_are_drawn_anew_when_what_makes_them_changes(
    server: StandIn, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(arguments)
    drawn = []
    opened = family_module.opened
    monkeypatch.setattr(family_module, "_sources", lambda: "changed")
    monkeypatch.setattr(
        family_module, "opened", lambda name, **flags: drawn.append(name) or opened(name, **flags)
    )
    main(arguments)
    assert drawn == ["db"]


async def test_half_a_line_of_transcripts_is_no_try_and_spoils_none(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    for half in ("", '{"task_id": "half'):
        with file.open("a") as lines:
            lines.write(half)
        with TranscriptRecorder(file, NoRecorder()) as recorder:
            await recorder.keep(await play(Quiz(), task(len(half), "4"), EmptyPlayer()))  # type: ignore[arg-type]
    assert len(transcripts(file)) == 2


async def test_half_a_character_of_a_model_can_be_kept(tmp_path: Path) -> None:
    run = Play(task(1, "4"), 0, (Message(role="user", content="?"),), "")
    call = ToolCall(id="c", name="sql", arguments='{"query": "\ud800"}')
    run.note(Reply(thought="\ud800", call=call), Observation("\udfff", failed=True), "no")
    with TranscriptRecorder(tmp_path / "runs.jsonl", NoRecorder()) as recorder:
        await recorder.keep(run)
    [kept] = transcripts(tmp_path / "runs.jsonl").values()
    assert kept.turns[0].invalid == "no"


def test_without_a_terminal_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(0, 1000, 40))
    monkeypatch.setattr(display_module.time, "monotonic", lambda: float(next(clock)))
    console = Console(file=io.StringIO())
    display = Display(console, 10)
    display.count([result(0, "", 1.0)])
    played = result(1, "", 0.0).model_copy(update={"prompt_tokens": 1500, "completion_tokens": 9})
    for _ in range(4):
        display.add(played)
    output = console.file.getvalue()  # type: ignore[attr-defined]
    line = r"3 of 10 tries: 1 of 3 solved \(33.3%\); 3,018 tokens, \d:\d\d:\d\d left"
    assert re.search(line, output)
    assert 1 <= len(output.splitlines()) < 5


def test_an_evaluation_does_not_wait_for_what_only_a_log_needs() -> None:
    program = "import sys, agentlm.environments.evaluation.main; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    assert "'agentlm.environments.playing.progress'" in loaded
    for heavy in ("sqlalchemy", "sqlglot", "pyoxigraph", "matplotlib", "jinja2.sandbox"):
        assert f"'{heavy}'" not in loaded
