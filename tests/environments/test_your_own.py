"""A stranger's world is one file: found, played, kept, scored like ours, clear when broken."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from agentlm.environments.adapters.loading import environment_of, version_of
from agentlm.environments.adapters.world import Problem, World, WorldEnvironment
from agentlm.environments.catalogue import opened, tasks_of
from agentlm.environments.evaluation.report import row_of
from agentlm.environments.evaluation.statistics import pass_at
from agentlm.environments.playing.cli import main
from agentlm.environments.playing.demonstration import demonstration
from agentlm.environments.playing.play import Play, play
from agentlm.environments.playing.players import GoldPlayer, RandomPlayer, Reply
from agentlm.environments.playing.progress import Kept, Result
from agentlm.environments.playing.settings import RolloutSettings
from agentlm.environments.splits import SPLITS
from agentlm.environments.task import Split, Task
from agentlm.errors import OperatorError
from agentlm.messages import ToolCall, ToolSpec
from agentlm.settings import parse
from agentlm.store import Selection, Store
from agentlm.trajectory import Outcome

GUIDE = Path(__file__).parents[2] / "docs/your-own-environment.md"
EXAMPLE = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0]


class Turns:
    """Says what a script says; the last line again and again."""

    name = "turns"

    def __init__(self, *turns: dict[str, Any] | str) -> None:
        self._turns = turns

    async def reply(self, task: Task, attempt: int, messages: Any, tools: Any) -> Reply:
        done = sum(message.role == "assistant" for message in messages)
        turn = self._turns[min(done, len(self._turns) - 1)]
        if isinstance(turn, str):
            return Reply(answer=turn)
        call = ToolCall(id=f"c{done}", name="step", arguments=json.dumps(turn))
        return Reply(call=call)


class Steps(World):
    """Take three steps."""

    max_turns = 3

    @staticmethod
    def tasks(split: Split) -> list[Problem]:
        return [Problem(f"Walk in {split}.", {"steps": 3})]

    def step(self, how: str) -> str:
        """Take one."""
        match how:
            case "raise":
                raise ZeroDivisionError("a bug")
            case "exit":
                sys.exit("out")
            case "stop":
                raise StopIteration
            case "hang":
                __import__("time").sleep(5)
            case "flood":
                return "x" * 10**6
            case "overpay":
                self.earned = 3.0
        self.earned = min(1.0, self.earned + 0.25) if how != "overpay" else 3.0
        self.over = how == "end"
        return f"taken {how}"


async def tried(world: type[World], *turns: dict[str, Any] | str, seconds: float = 5) -> Play:
    environment = WorldEnvironment(world)
    [task] = environment.generate("dev")
    return await play(environment, task, Turns(*turns), step_timeout_s=seconds)


def test_the_guides_example_is_short_and_its_world_is_played(tmp_path: Path) -> None:
    assert EXAMPLE.count("\n") <= 30
    file = tmp_path / "higher.py"
    file.write_text(EXAMPLE)
    arguments = ["--env", f"{file}:HigherOrLower", "-n", "5", "--data-dir", str(tmp_path)]
    assert main([*arguments, "--player", "random"]) == 0
    assert main([*arguments, "--player", "gold"]) == 0
    store = Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")
    trajectories = list(store.select(Selection()))
    store.close()
    assert [t.reward for t in trajectories] == [1.0] * 5
    assert {t.environment for t in trajectories} == {"HigherOrLower"}


async def test_what_a_world_earns_is_partial_credit_and_kept_by_turn() -> None:
    run = await tried(Steps, {"how": "a"}, {"how": "b"}, {"how": "c"}, {"how": "never run"})
    assert (run.outcome, run.reward) == (Outcome.LIMIT, 0.75)
    assert Result.of(run, Kept()).earned == (0.25, 0.5, 0.75, 0.75)
    assert not Result.of(run, Kept()).success


async def test_a_world_that_is_over_ends_the_try_without_an_answer() -> None:
    run = await tried(Steps, {"how": "a"}, {"how": "end"}, "never asked")
    assert (run.outcome, run.reward, len(run.exchanges)) == (Outcome.COMPLETED, 0.5, 2)


class Waits(Steps):
    """Wait for it."""

    max_turns = max_equal_calls = 8


@pytest.mark.parametrize(
    ("most", "outcome", "calls"), [(5, Outcome.LIMIT, 5), (8, Outcome.COMPLETED, 7)]
)
async def test_a_loop_of_equal_calls_ends_a_try_unless_the_world_has_things_to_wait_for(
    monkeypatch: pytest.MonkeyPatch, most: int, outcome: Outcome, calls: int
) -> None:
    monkeypatch.setattr(Waits, "max_equal_calls", most)
    run = await tried(Waits, *[{"how": "wait"}] * 6, {"how": "end"})
    assert (run.outcome, len(run.exchanges)) == (outcome, calls)


async def test_the_answer_is_no_call_and_has_its_own_turn() -> None:
    run = await tried(Steps, {"how": "a"}, {"how": "b"}, {"how": "c"}, "done")
    assert (run.outcome, len(run.exchanges)) == (Outcome.COMPLETED, 4)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", "a bug"),
        ("exit", "SystemExit: out"),
        ("stop", "StopIteration"),
        ("hang", "more than 0.3 s to run step"),
        ("overpay", "reward 3.0; allowed: 0 to 1"),
    ],
)
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_world_that_breaks_at_any_step_scores_nothing(
    how: str, says: str, after: int
) -> None:
    run = await tried(Steps, *[{"how": "x"}] * after, {"how": how}, seconds=0.3)
    assert (run.outcome, run.reward) == (Outcome.ERROR, None)
    assert says in str(run.broken)


@pytest.mark.parametrize("hook", ["__init__", "start", "score", "close"])
async def test_a_world_that_breaks_beside_its_steps_scores_nothing(hook: str) -> None:
    def broken(*_: object) -> None:
        raise MemoryError(hook)

    kind = type("Broken", (Steps,), {hook: broken, "__doc__": "Breaks."})
    run = await tried(kind, "an answer")
    assert (run.outcome, run.reward) == (Outcome.ERROR, None)
    assert hook in str(run.broken)


@pytest.mark.parametrize("reward", [float("nan"), -0.1, 1.1, float("inf"), "x"])
async def test_a_reward_that_is_none_scores_nothing(reward: object) -> None:
    members = {"score": lambda *_: reward, "__doc__": "Odd."}
    run = await tried(type("Odd", (Steps,), members), "an answer")
    assert (run.outcome, run.reward) == (Outcome.ERROR, None)


async def test_a_flood_of_words_is_cut() -> None:
    run = await tried(Steps, {"how": "flood"}, "done")
    seen = run.exchanges[0].observation
    assert seen is not None
    assert len(seen.text) < 21_000


async def test_methods_may_be_async_and_what_is_no_text_is_json() -> None:
    class Later(World):
        """Answers later."""

        @staticmethod
        def tasks() -> list[Problem]:
            return [Problem(str(n)) for n in range(40)]

        async def step(self, how: list[int]) -> dict[str, int]:
            """Add up."""
            return {"sum": sum(how)}

        async def score(self, answer: str) -> bool:
            return answer == "6"

    environment = WorldEnvironment(Later)
    task = next(environment.generate("train"))
    run = await play(environment, task, Turns({"how": [1, 2, 3]}, "6"))
    assert run.exchanges[0].observation is not None
    assert run.exchanges[0].observation.text == '{"sum": 6}'
    assert run.reward == 1.0
    wrong = await play(environment, task, Turns({"how": ["a"]}, "7"))
    assert wrong.exchanges[0].observation is not None
    assert wrong.exchanges[0].observation.failed
    assert wrong.reward == 0.0
    dealt = [task.id for split in SPLITS for task in environment.generate(split)]
    assert len(dealt) == len(set(dealt)) == 40


async def test_gold_is_optional_and_who_needs_it_is_told() -> None:
    environment = WorldEnvironment(Steps)
    with pytest.raises(OperatorError, match="no expert's moves to show"):
        await demonstration(environment, 0)
    with pytest.raises(OperatorError, match="come without an expert's moves"):
        await play(environment, next(environment.generate("dev")), GoldPlayer())


def test_a_world_without_tasks_of_a_split_is_told() -> None:
    none = type("None_", (Steps,), {"tasks": staticmethod(list), "__doc__": "Nothing."})
    with pytest.raises(OperatorError, match="no task of the split dev"):
        tasks_of(WorldEnvironment(none), "dev", 0, 5)


def test_a_few_tasks_again_and_again_end() -> None:
    again = staticmethod(lambda: (Problem("The same.") for _ in iter(int, 1)))
    environment = WorldEnvironment(type("Again", (Steps,), {"tasks": again, "__doc__": "Same."}))
    assert sum(len(list(environment.generate(split))) for split in SPLITS) == 1


FILES = {
    "raises": ("1 / 0", "World", ":1 can't be loaded: ZeroDivisionError"),
    "exits": ("import sys\nsys.exit(3)", "World", ":2 can't be loaded: SystemExit"),
    "lacks": ("import nowhere_at_all", "World", "No module named 'nowhere_at_all'"),
    "syntax": ("class World(:", "World", "can't be loaded: SyntaxError"),
    "other name": ("class Other: ...", "World", "has no World; its classes: Other"),
    "no world": ("class World: ...", "World", "it has no name, max_turns, tools"),
    "needs more": ("class World:\n    def __init__(self, a): ...", "World", "TypeError"),
    "no docstring": (
        "from agentlm.environments.adapters.world import World\nclass A(World): ...",
        "A",
        "A has no docstring",
    ),
    "no hint": (
        "from agentlm.environments.adapters.world import World\nclass A(World):\n    'W.'\n"
        "    def go(self, where):\n        'Go.'",
        "A",
        "where has no type hint",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_world_is_one_clear_line(tmp_path: Path, case: str) -> None:
    content, name, says = FILES[case]
    (tmp_path / "w.py").write_text(content)
    with pytest.raises(OperatorError, match=re.escape(says)):
        environment_of(f"{tmp_path}/w.py:{name}")


TASKS = {
    "raises": ("raise KeyError('x')", "tasks() broke: KeyError"),
    "yields later": ("yield Problem('a')\n        1 / 0", "tasks() broke: ZeroDivisionError"),
    "other things": ("yield {'instruction': 'a'}", "tasks() gave a dict; a Problem is allowed"),
    "no json": ("yield Problem('a', {'b': {1}})", "parameters must be JSON"),
    "nothing": ("return 3", "tasks() broke: TypeError"),
}


@pytest.mark.parametrize("case", TASKS)
def test_tasks_that_are_none_are_one_clear_line(tmp_path: Path, case: str) -> None:
    body, says = TASKS[case]
    (tmp_path / "w.py").write_text(
        "from agentlm.environments.adapters.world import *\nclass A(World):\n    'W.'\n"
        f"    @staticmethod\n    def tasks(split):\n        {body}\n"
    )
    with pytest.raises(OperatorError, match=re.escape(says)):
        list(environment_of(f"{tmp_path}/w.py:A").generate("dev"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"instruction": 3}', "t.jsonl:2: instruction: "),
        ("{", "t.jsonl:2: "),
        ('{"instruction": "a", "gould": []}', "t.jsonl:2: gould: "),
        ("[]", "t.jsonl:2: the task: an object is expected"),
    ],
)
def test_a_bad_line_of_a_task_file_is_named(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "t.jsonl").write_text(f'{{"instruction": "a"}}\n{line}\n')
    with pytest.raises(OperatorError, match=re.escape(says)):
        WorldEnvironment(Steps).load(tmp_path / "t.jsonl", "dev")


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85"])
def test_characters_that_some_take_for_line_ends_end_no_line_of_a_task_file(
    tmp_path: Path, odd: str
) -> None:
    (tmp_path / "t.jsonl").write_text(f'{{"instruction": "a{odd}b"}}\r\n\n{{"instruction": "c"}}\n')
    tasks = WorldEnvironment(Steps).load(tmp_path / "t.jsonl", "dev")
    assert [task.instruction for task in tasks] == [f"a{odd}b", "c"]


async def test_half_a_character_that_a_world_shows_is_a_question_mark() -> None:
    half = type("Half", (Steps,), {"act": lambda *_: "\udc80", "__doc__": "Half."})
    run = await tried(half, {"how": "a"}, "done")
    assert run.exchanges[0].observation is not None
    assert run.exchanges[0].observation.text == "?"


@pytest.mark.parametrize("name", ["dbb", "x.py", "x.py:", "gymnasium:", "gym:X", "", "nowhere"])
def test_an_unknown_environment_is_told_what_there_is(name: str) -> None:
    with pytest.raises(OperatorError, match=r"--env: .*known: db, os, kg, .*FILE\.py:Class"):
        parse(RolloutSettings, ["--env", name], "agentlm rollout")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="there is no Python file"):
        environment_of(f"{tmp_path}/none.py:A")


class Own:
    """All of the contract but `load`, as an author who wants it all writes it."""

    name = "own"
    max_turns = 1

    def tools(self) -> tuple[ToolSpec, ...]:
        return ()

    def prompt(self, task: Task) -> str:
        return task.instruction

    def generate(self, split: Split, seed: int = 0) -> Any:
        return WorldEnvironment(Steps).generate(split, seed)

    def open(self, task: Task) -> Any:
        return WorldEnvironment(Steps).open(task)


@pytest.fixture
def entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package that offers a world."""
    (tmp_path / "their_world.py").write_text(
        f"from agentlm.environments.adapters.world import *\n{EXAMPLE}"
    )
    info = tmp_path / "their_world-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-world\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text(
        "[agentlm.environments]\ntheirs = their_world:HigherOrLower\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "theirs"


async def test_an_installed_package_offers_its_world_by_name(
    entry_point: str, tmp_path: Path
) -> None:
    settings = parse(RolloutSettings, ["--env", entry_point], "agentlm rollout")
    assert version_of(settings.env) == "their-world 2.1"
    async with opened(settings.env, concurrency=1, data_dir=tmp_path) as environment:
        run = await play(environment, next(environment.generate("train")), GoldPlayer())
    assert run.reward == 1.0


async def test_the_whole_contract_may_be_written_without_load(tmp_path: Path) -> None:
    assert isinstance(Own(), object)
    environment: Any = Own()
    task = next(iter(tasks_of(environment, "dev", 0, 1)))
    assert (await play(environment, task, Turns("done"))).reward == 0.0
    with pytest.raises(OperatorError, match="own reads no task files"):
        tasks_of(environment, "dev", 0, 1, tmp_path)


@pytest.mark.parametrize("flag", ["--scoring=agentbench", "--grammar=agentinstruct"])
def test_what_only_ours_have_is_refused_for_yours(tmp_path: Path, flag: str) -> None:
    (tmp_path / "w.py").write_text(EXAMPLE)
    arguments = ["--env", f"{tmp_path}/w.py:HigherOrLower", "-n", "1", "--player", "gold", flag]
    with pytest.raises(OperatorError, match=f"{flag.replace('=', ' ')} is offered for db"):
        main([*arguments, "--data-dir", str(tmp_path)])


def test_a_world_that_kills_the_program_loses_no_finished_try(tmp_path: Path) -> None:
    """And one whose file changed is another plan."""
    file, data = tmp_path / "deadly.py", tmp_path / "data"
    deadly = EXAMPLE.replace(
        "def score(self, answer: str) -> float:",
        "def score(self, answer: str) -> float:\n        import os, pathlib\n"
        f"        done = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "        done.write_text(done.read_text() + 'x' if done.exists() else 'x')\n"
        "        if done.read_text() == 'xxx': os._exit(9)",
    )
    file.write_text(deadly)
    flags = ["--env", f"{file}:HigherOrLower", "--player", "gold", "-n", "6"]
    flags += ["--concurrency", "1", "--data-dir", str(data)]
    program = "import sys; from agentlm.environments.playing.cli import main; main(sys.argv[1:])"
    killed = subprocess.run([sys.executable, "-c", program, *flags], check=False)
    assert killed.returncode == 9
    assert main(flags) == 0
    assert (tmp_path / "count").read_text() == "x" * 7
    file.write_text(EXAMPLE)
    with pytest.raises(OperatorError, match="world was"):
        main(flags)


def test_chances_of_one_in_k_tries_are_unbiased() -> None:
    assert pass_at(1, 4, 1) == pytest.approx(0.25)
    assert pass_at(2, 4, 1) == pytest.approx(0.5)
    assert pass_at(4, 4, 1) == 1.0
    assert pass_at(3, 3, 0) == 0.0
    with pytest.raises(ValueError, match="pass@5 of 4"):
        pass_at(5, 4, 1)


def test_a_report_has_the_chance_of_k_tries_and_the_best_of_them(any_row: dict[str, Any]) -> None:
    rewards = {"a": (0.0, 1.0, 0.5), "b": (0.25, 0.5, 0.0), "c": (1.0,)}
    results = [
        Result(
            task_id=task,
            attempt=n,
            environment="x",
            family="f",
            template="t",
            outcome=Outcome.COMPLETED,
            reward=reward,
        )
        for task, each in rewards.items()
        for n, reward in enumerate(each)
    ]
    row = row_of(results, **any_row)
    assert row.pass_at == pytest.approx({1: (1 / 3 + 0 + 1) / 3, 2: (2 / 3) / 2, 3: 0.5})
    assert row.best == pytest.approx((1 + 0.5 + 1) / 3)


@pytest.fixture
def any_row() -> dict[str, Any]:
    from agentlm.environments.evaluation.floors import Floor, Floors
    from agentlm.environments.playing.model_player import PlayedModel

    floor = Floor(constant=0, answer="", random=0, tasks=0)
    model = PlayedModel(name="m", url="u")
    floors = Floors(all=floor, families={})
    return {
        "environment": "x",
        "model": "m",
        "decoding": "d",
        "played": model,
        "asked": 7,
        "floors": floors,
        "results_file": "r.jsonl",
    }


gym = pytest.mark.skipif(version_of("gymnasium:X") is None, reason="Gymnasium is not installed")


@gym
@pytest.mark.parametrize("name", ["FrozenLake-v1", "Blackjack-v1"])
async def test_a_text_world_of_gymnasiums_is_played(name: str) -> None:
    environment = environment_of(f"gymnasium:{name}")
    tasks = list(islice(environment.generate("train"), 3))
    assert len({task.id for task in tasks}) == 3
    for task in tasks:
        again = [await play(environment, task, RandomPlayer()) for _ in range(2)]
        assert again[0].reward == again[1].reward
        assert again[0].broken is None
        assert [e.observation for e in again[0].exchanges] == [
            e.observation for e in again[1].exchanges
        ]


@gym
@pytest.mark.parametrize(
    ("name", "says"), [("CartPole-v1", "shows Box"), ("Nope-v0", "doesn't exist")]
)
def test_a_world_that_is_no_text_is_refused_by_name(name: str, says: str) -> None:
    with pytest.raises(OperatorError, match=says):
        environment_of(f"gymnasium:{name}")


@pytest.mark.parametrize(("library", "extra"), [("gymnasium", "gymnasium"), ("verifiers", "deps")])
def test_a_library_that_is_missing_is_told_with_its_cure(
    library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(OperatorError, match=f"{library} can't be imported.*pip install .*{extra}"):
        environment_of(f"{library}:X")
