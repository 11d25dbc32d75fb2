"""Clicking and typing in Chromium: experts solve their pages, kinds and pages are held apart, no
page is worth what was not done on it, and a Chromium that dies or hangs is nobody's zero."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest

from agentlm.environments.adapters.loading import environment_of, folder_of, version_of
from agentlm.environments.adapters.world import WorldEnvironment
from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import GoldPlayer, RandomPlayer, Reply
from agentlm.environments.playing.progress import results_in
from agentlm.environments.splits import SPLITS
from agentlm.environments.task import Split, Task
from agentlm.environments.web.experts import EXPERTS, HELD_OUT
from agentlm.environments.web.miniwob import as_move
from agentlm.errors import OperatorError
from agentlm.messages import ToolCall
from agentlm.tools.shell.process_tree import tree
from agentlm.trajectory import Outcome
from support.held_out_pages import SOLUTIONS
from support.processes import interruptible

needs_pages = pytest.mark.skipif(version_of("web") is None, reason="miniwob is not installed")
needs_chromium = pytest.mark.skipif(
    version_of("web") is None or shutil.which("chromium") is None,
    reason="MiniWoB++ or Chromium is not installed",
)

Call = tuple[str, dict[str, Any]]


@contextmanager
def pages(**members: object) -> Iterator[WorldEnvironment]:
    """The environment, or one with other `members`; its Chromium is ended afterwards."""
    environment: Any = environment_of("web")
    world = type("Pages", (environment._world,), {**members, "__doc__": "Pages."})
    try:
        yield WorldEnvironment(world, "web")
    finally:
        world.browser.stop()


class Turns:
    """Makes a script's calls, then answers that it has won."""

    name = "turns"

    def __init__(self, *turns: Call) -> None:
        self._turns = turns

    async def reply(self, task: Task, attempt: int, messages: Sequence[Any], tools: Any) -> Reply:
        done = sum(message.role == "assistant" for message in messages)
        if done == len(self._turns):
            return Reply(answer="done; reward: 1")
        name, arguments = self._turns[done]
        return Reply(call=ToolCall(id="c", name=name, arguments=json.dumps(arguments)))


class Striker(GoldPlayer):
    """An expert before one of whose turns something happens."""

    def __init__(self, turn: int | None, strike: Callable[[], object]) -> None:
        self._turn, self._strike = turn, strike

    async def reply(self, task: Task, attempt: int, messages: Any, tools: Any) -> Reply:
        if sum(message.role == "assistant" for message in messages) == self._turn:
            self._strike()
        return await super().reply(task, attempt, messages, tools)


def processes(root: int, *names: str) -> list[int]:
    """Those below a process whose name begins so."""
    found = []
    for pid in list(tree(root)):
        with suppress(FileNotFoundError, ProcessLookupError):  # it went with another
            if Path(f"/proc/{pid}/comm").read_text().startswith(names):
                found.append(pid)
    return found


def struck(name: str, how: signal.Signals) -> list[int]:
    """The processes of that name, each of which got the signal."""
    found = processes(os.getpid(), name)
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, how)
    return found


def gone(pids: Sequence[int]) -> bool:
    """Whether all have ended within some seconds; nobody may have waited for them."""
    for _ in range(100):
        if not any(map(runs, pids)):
            return True
        time.sleep(0.1)
    return False


def runs(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


MISTAKES: list[Call] = [
    ("click", {"element": 99}),
    ("click", {"element": 0}),
    ("click", {"element": -1}),
    ("click", {"element": 2**80}),
    ("type", {"element": 1, "text": "x"}),
    ("type", {"element": 1, "text": "x" * 501}),
    ("select", {"element": 1, "option": "nowhere"}),
    ("evaluate", {"script": "core.endEpisode(1)"}),
    ("tasks", {}),
    ("close", {}),
]
"""On a page whose first element is a button."""


@needs_chromium
async def test_pages_are_solved_by_experts_and_survive_chance_mistakes_and_a_dead_browser() -> None:
    with pages() as environment:
        assert [tool.name for tool in environment.tools()] == ["click", "type", "select"]
        tasks = list(islice(environment.generate("train"), 3))
        for task in tasks:
            run = await play(environment, task, GoldPlayer())
            assert (run.broken, run.reward, run.outcome) == (None, 1.0, Outcome.COMPLETED)
            assert (await play(environment, task, RandomPlayer())).broken is None

        task = next(task for task in tasks if "page:\n[1] button" in task.instruction)
        run = await play(environment, task, Turns(*MISTAKES))
        assert (run.broken, run.reward) == (None, 0.0)
        assert all(each.observation and each.observation.failed for each in run.exchanges[:-1])

        broken = await play(environment, task, Striker(0, lambda: struck("chrom", signal.SIGKILL)))
        assert (broken.outcome, broken.reward) == (Outcome.ERROR, None)
        assert (await play(environment, task, GoldPlayer())).reward == 1.0
        left = processes(os.getpid(), "chrom", "node")
    assert left
    assert gone(left)


PAGE = """<!DOCTYPE html><html><head>
<script src="CORE/core.js"></script>
<script src="CORE/jquery-ui/external/jquery/jquery.js"></script>
<script>
const genProblem = () => {
  $("#query").text("Enter the word.");
  $("#go").on("click", () => {
    $("#one").html($("#typed").val());
    document.getElementById("two").innerHTML = $("#typed").val();
    if ($("#typed").val() === "word") core.endEpisode(1);
  });
};
window.onload = () => core.startEpisode();
</script></head><body><div id="query"></div><input id="typed"><button id="go">Go</button>
<div id="one"></div><div id="two"></div></body></html>"""
"""Shows what was typed as if it were HTML of its own."""
WON = "<script>WOB_DONE_GLOBAL = true; WOB_RAW_REWARD_GLOBAL = 1;</script>"
INJECTED = {
    "a picture": '<img src="nowhere" onerror="core.endEpisode(1)">',
    "a drawing": '<svg onload="core.endEpisode(1)"></svg>',
    "a script": "<script>core.endEpisode(1)</script>",
    "a script of a file": '<script src="own.js"></script>',
    "a link": '<a href="javascript:core.endEpisode(1)">On</a>',
    "a button": '<button onclick="core.endEpisode(1)">On</button>',
    "a frame": '<iframe srcdoc="<script>parent.core.endEpisode(1)</script>"></iframe>',
    "a frame's address": '<iframe src="javascript:parent.core.endEpisode(1)"></iframe>',
    "a page that is won": '<a href="won.html">On</a>',
    "a form": '<form action="won.html"><button>On</button></form>',
    "a refresh": '<meta http-equiv="refresh" content="0;url=won.html">',
    "a frame that is won": '<iframe src="won.html" name="core"></iframe>',
    "words": "Reward: 1. WOB_RAW_REWARD_GLOBAL = 1",
}
TYPED: list[Call] = [("type", {"element": 1, "text": ""}), ("click", {"element": 2})]
AFTERWARDS: list[Call] = [("click", {"element": number}) for number in (3, 4, 2)]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldEnvironment]:
    folder = tmp_path_factory.mktemp("pages")
    core = folder_of("miniwob", "") / "html/core"
    (folder / "enter-text.html").write_text(PAGE.replace("CORE", core.as_uri()))
    (folder / "won.html").write_text(f"<!DOCTYPE html><html><body>{WON}Won.</body></html>")
    (folder / "own.js").write_text("core.endEpisode(1)")
    with pages(folder=folder) as environment:
        yield environment


def task_of(instruction: str) -> Task:
    return Task(
        environment="web",
        template="t",
        family="enter-text",
        split="test",
        instruction=instruction,
        parameters={"kind": "enter-text", "seed": 1},
    )


@needs_chromium
@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("what", INJECTED)
async def test_what_is_typed_into_a_page_runs_nothing_and_earns_nothing(
    what: str, hostile: WorldEnvironment
) -> None:
    typed = ("type", {"element": 1, "text": INJECTED[what]})
    run = await play(hostile, task_of(what), Turns(typed, TYPED[1], *AFTERWARDS))
    assert (run.broken, run.reward) == (None, 0.0)


@needs_chromium
@pytest.mark.slow
@pytest.mark.real
async def test_a_page_is_worth_what_it_says_itself_once(hostile: WorldEnvironment) -> None:
    word = ("type", {"element": 1, "text": "word"})
    run = await play(hostile, task_of("word"), Turns(word, TYPED[1]))
    assert (run.broken, run.reward, run.outcome) == (None, 1.0, Outcome.COMPLETED)


@needs_chromium
@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize(
    ("name", "turn"), [("chrom", 0), ("chrom", 1), ("chrom", None), ("node", 1), ("node", None)]
)
async def test_a_chromium_that_dies_or_hangs_at_any_step_is_no_zero_and_the_next_try_has_another(
    name: str, turn: int | None, how: signal.Signals
) -> None:
    """Or Playwright's own process."""
    found: list[int] = []
    strike = lambda: found.extend(struck(name, how))  # noqa: E731
    with pages() as environment:
        task = next(task for task in environment.generate("train") if len(task.gold) >= 2)
        browser = cast(Any, environment)._world.browser
        browser.patience_s = 5.0
        if turn is None:  # before it is opened
            strike()
        run = await play(environment, task, Striker(turn, strike))
        if turn is not None or how == signal.SIGSTOP:
            assert (run.outcome, run.reward) == (Outcome.ERROR, None)
        assert run.reward != 0
        browser.patience_s = 120.0
        assert (await play(environment, task, GoldPlayer())).reward == 1.0
    assert found
    assert gone(found)


@needs_chromium
@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_rollout_that_is_ended_leaves_no_process_and_goes_on(
    how: signal.Signals, tmp_path: Path
) -> None:
    flags = ["--env", "web", "--player", "gold", "-n", "16", "--concurrency", "2", "--name", "r"]
    command = [Path(sys.executable).with_name("agentlm"), "rollout", *flags]
    command += ["--data-dir", str(tmp_path)]
    results = tmp_path / "rollouts/r/results.jsonl"
    process = subprocess.Popen(command, process_group=0, preexec_fn=interruptible)
    while process.poll() is None and (not results.exists() or len(results_in(results)) < 3):
        time.sleep(0.1)
    started = processes(process.pid, "chrom", "node")
    # As a terminal does: Ctrl-C reaches all in the foreground, what a shell's kill sends does not.
    os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)
    assert process.wait(60) != 0
    assert started
    assert gone(started)
    kept = len(results_in(results))
    assert 3 <= kept < 16
    assert subprocess.run(command, check=False).returncode == 0
    assert [result.reward for result in results_in(results)] == [1.0] * 16


@pytest.mark.parametrize("split", [*SPLITS[:-1]])
@needs_chromium
@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(1800)
async def test_experts_solve_every_page_of_a_split(split: Split) -> None:
    with pages() as environment:
        tasks = list(islice(environment.generate(split), 32))
        assert len(tasks) == 32
        assert [task.family for task in tasks if not task.gold] == []
        for task in tasks:
            run = await play(environment, task, GoldPlayer())
            assert (run.broken, run.reward) == (None, 1.0), (task.family, task.parameters)
            assert run.error_classes == ()
    with pages() as environment:  # another Chromium draws the same
        again = islice(environment.generate(split), 20)
        assert [task.id for task in again] == [task.id for task in tasks[:20]]


@needs_chromium
@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(1800)
def test_splits_share_no_page_and_kinds_that_are_held_out_are_in_one() -> None:
    with pages() as environment:
        drawn = {split: list(islice(environment.generate(split), 20)) for split in SPLITS}
    says = [task.instruction for tasks in drawn.values() for task in tasks]
    assert len(set(says)) == len(says)
    kinds = {split: {task.family for task in tasks} for split, tasks in drawn.items()}
    assert kinds["test-kinds"] == set(HELD_OUT)
    assert set().union(*(kinds[split] for split in SPLITS[:-1])) <= set(EXPERTS)
    assert not any(task.gold for task in drawn["test-kinds"])


class Solver:
    """Does on a page of a kind that is held out what `SOLUTIONS` says."""

    name = "solver"

    async def reply(self, task: Task, attempt: int, messages: Sequence[Any], tools: Any) -> Reply:
        asked, _, page = task.instruction.partition("\n\nThe page:\n")
        taken = sum(message.role == "assistant" for message in messages)
        page = messages[-1].content if taken else page
        lines = [line.partition("] ")[2] for line in page.splitlines()]
        move = as_move(SOLUTIONS[task.family](asked, lines, taken), page)
        assert move is not None, (task.family, task.parameters)
        assert move.action is not None
        arguments = json.dumps(move.action.arguments)
        return Reply(call=ToolCall(id="c", name=move.action.name, arguments=arguments))


@needs_chromium
@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(1800)
async def test_every_kind_that_is_held_out_can_be_solved_with_the_three_tools() -> None:
    assert set(SOLUTIONS) == set(HELD_OUT)
    with pages() as environment:
        for task in islice(environment.generate("test-kinds"), 3 * len(HELD_OUT)):
            run = await play(environment, task, Solver())
            assert run.broken is None
            if task.family != "tic-tac-toe":  # whose other player plays at random
                assert run.reward == 1.0, (task.family, task.parameters)


@needs_pages
def test_kinds_are_trained_on_or_held_out_and_all_are_pages() -> None:
    there = {file.stem for file in (folder_of("miniwob", "") / "html/miniwob").glob("*.html")}
    assert set(HELD_OUT).isdisjoint(EXPERTS)
    assert len(set(HELD_OUT)) == len(HELD_OUT)
    assert {*HELD_OUT, *EXPERTS} <= there


@needs_pages
def test_chromium_that_does_not_start_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "chromium").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        pages() as environment,
        pytest.raises(OperatorError, match=r"^web: .*chromium did not start: [^\n]*$"),
    ):
        next(environment.generate("train"))


@needs_pages
def test_chromium_that_is_missing_is_one_sentence_with_its_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OperatorError, match=r"web needs Chromium, .* apt-get install chromium"):
        environment_of("web")


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("miniwob", r"the package miniwob is missing: pip install .*\[web\]"),
        ("playwright.async_api", r"playwright can't be imported .*pip install .*\[web\]"),
    ],
)
@needs_chromium
def test_a_package_that_is_missing_is_one_sentence_with_its_cure(
    module: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OperatorError, match=says):
        environment_of("web")
