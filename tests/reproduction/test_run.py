"""A plan is run in order, once, whatever happens meanwhile; and never on what is another's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentlm.commands.reproduction.experiment import Experiment
from agentlm.commands.reproduction.plan import Plan
from agentlm.environments.playing.progress import results_in
from agentlm.errors import OperatorError
from support.machines import HOUR, FakeMachine, Killed, Moments, run, writes_are_moments

STEPS: list[dict[str, Any]] = [
    {"name": "gold", "run": "agentlm rollout --env db --player gold", "units": {"tries": 10}},
    {
        "name": "gold-file",
        "run": "agentlm logs export --output gold.jsonl",
        "makes": ["gold.jsonl"],
        "units": {"tries": 10},
    },
    {
        "name": "base",
        "run": "agentlm eval --model tiny --name base",
        "served": "tiny",
        "units": {"tries": 60},
    },
    {
        "name": "train",
        "run": "agentlm finetune --name mine --data gold.jsonl",
        "units": {"tokens": 3600},
    },
    {
        "name": "mine",
        "run": "agentlm eval --model mine --name mine",
        "served": "mine",
        "units": {"tries": 60},
    },
    {
        "name": "again",
        "run": "agentlm eval --model mine --name mine-dev2",
        "served": "mine",
        "units": {"tries": 60},
    },
]
RATES = {"tries": 60.0, "tokens": 1.0, "start": 30.0}


def plan(steps: list[dict[str, Any]] = STEPS, **fields: Any) -> Plan:
    defaults = {"about": "A test.", "base": "tiny", "rates": RATES, "steps": steps}
    return Plan.model_validate(defaults | fields)


def changed(index: int, **fields: Any) -> list[dict[str, Any]]:
    return [step | fields if at == index else step for at, step in enumerate(STEPS)]


def commands(of: Plan) -> list[str]:
    return [" ".join(step.words) for step in of.steps]


def test_steps_run_in_order_each_with_its_server(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)

    run(plan(), machine)

    assert machine.ran == commands(plan())
    assert machine.served == ["", "", "tiny", "", "mine", "mine"]
    assert machine.serving is None


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    run(plan(), FakeMachine(tmp_path))

    assert not run(plan(), FakeMachine(tmp_path))


def test_killed_anywhere_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every moment at which the process could die: after it, everything is done, and a command
    came to its end twice only if it was killed before that was written down."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # it is no power cut
    death, died = 0, True
    while died:
        death += 1
        moments = Moments(death)
        machine = FakeMachine(tmp_path / str(death), moments)
        writes_are_moments(moments, monkeypatch)
        died = False
        try:
            run(plan(), machine)
        except Killed:
            died = True
            before = list(machine.ran)
            done = set(Experiment(machine.directory).marks()) if before else set()
            moments.death, machine.serving = None, None
            ran = run(plan(), machine)
            assert set(ran) == set(commands(plan()))
            assert sum(ran.values()) <= len(STEPS) + 1
            assert not {command for command in ran if ran[command] > 1} - set(before[-1:])
            assert len(done) >= len(before)
    assert death > 40


def test_killed_time_and_again_it_comes_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each life lasts but long enough for one more command."""
    moments = Moments()
    machine = FakeMachine(tmp_path, moments)
    writes_are_moments(moments, monkeypatch)
    for _ in range(40):
        moments.death, machine.serving = moments.count + 19, None
        try:
            run(plan(), machine)
            break
        except Killed:
            continue
    assert set(machine.ran) == set(commands(plan()))


def test_a_step_that_fails_ends_it_and_is_tried_again(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, fails=lambda words: 3 if words[0] == "finetune" else 0)

    with pytest.raises(
        OperatorError, match=r"step 4 of 6, train failed \(agentlm finetune ended with 3\)"
    ):
        run(plan(), machine)
    assert machine.ran == commands(plan())[:3]
    machine.fails = lambda _: 0
    run(plan(), machine)
    assert machine.ran == commands(plan())
    assert Experiment(tmp_path).marks()["train"].seconds == 1.5 * HOUR


def test_a_step_that_makes_nothing_is_not_done(tmp_path: Path) -> None:
    steps = changed(1, run="agentlm logs export --limit 3")

    with pytest.raises(OperatorError, match="the step gold-file ended well, but has not made gold"):
        run(plan(steps), FakeMachine(tmp_path))


def test_what_is_not_there_is_left_out_and_said(tmp_path: Path) -> None:
    machine, lines = FakeMachine(tmp_path), list[str]()
    steps = changed(2, needs=["shipped", "dev.jsonl"])

    run(plan(steps), machine, lines)

    assert "step 3 of 6, base: left out, because shipped and dev.jsonl is not there" in lines
    assert len(machine.ran) == len(STEPS) - 1
    (tmp_path / "dev.jsonl").touch()
    (tmp_path / "cards" / "shipped").touch()
    run(plan(steps), machine)
    assert machine.ran[-1] == commands(plan())[2]


def done_with(tmp_path: Path) -> None:
    run(plan(), FakeMachine(tmp_path))


@pytest.mark.parametrize(
    ("now", "complaint"),
    [
        (
            lambda: plan(changed(3, run="agentlm finetune --name mine --data gold.jsonl --lr 1")),
            r"the step train was done as '.* gold.jsonl' and is now '.* --lr 1'; give another",
        ),
        (lambda: plan(changed(4, served="tiny")), "the step mine was done as .* or server now"),
        (lambda: plan(STEPS[:4] + STEPS[5:]), "the step mine, which is done, is not in the plan"),
        (
            lambda: plan([*STEPS[:2], STEPS[2] | {"name": "new"}, *STEPS[2:]]),
            "the step base is done and new, which the plan has before it, is not: the plan was "
            "changed in the middle",
        ),
    ],
    ids=["another recipe", "another server", "a step less", "a step more in the middle"],
)
def test_a_plan_that_was_changed_is_refused_in_a_sentence(
    tmp_path: Path, now: Callable[[], Plan], complaint: str
) -> None:
    done_with(tmp_path)
    machine = FakeMachine(tmp_path)

    with pytest.raises(OperatorError, match=complaint) as refused:
        run(now(), machine)

    assert "\n" not in str(refused.value)
    assert not machine.ran


def test_a_recipe_that_was_changed_under_its_name_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("lr: 1.0e-4\n")
    steps = changed(3, run=f"agentlm finetune --name mine --config {recipe}")
    run(plan(steps), FakeMachine(tmp_path / "x"))
    recipe.write_text("lr: 2.0e-4\n")

    with pytest.raises(OperatorError, match=r"the step train was done as .* has another recipe"):
        run(plan(steps), FakeMachine(tmp_path / "x"))


def test_a_plan_that_grew_at_its_end_goes_on(tmp_path: Path) -> None:
    done_with(tmp_path)
    machine = FakeMachine(tmp_path)
    more = {"name": "more", "run": "agentlm eval --model mine --name more", "served": "mine"}

    run(plan([*STEPS, more]), machine)

    assert machine.ran == ["eval --model mine --name more"]


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_product_that_is_not_as_it_was_is_named(tmp_path: Path, damage: str) -> None:
    done_with(tmp_path)
    file = tmp_path / "gold.jsonl"
    file.write_text("other rows") if damage == "changed" else file.unlink()

    with pytest.raises(OperatorError, match=r"gold.jsonl.* the step gold-file (left|made)"):
        run(plan(), FakeMachine(tmp_path))


def test_another_base_under_its_name_is_refused(tmp_path: Path) -> None:
    done_with(tmp_path)

    with pytest.raises(OperatorError, match="begun with tiny of weights w0, and tiny has w1 now"):
        run(plan(), FakeMachine(tmp_path, base_weights="w1"))


@pytest.mark.parametrize("there", ["agentlm.db", "runs", "evaluations"])
def test_a_directory_with_rows_of_something_else_is_refused(tmp_path: Path, there: str) -> None:
    (tmp_path / there).mkdir()

    with pytest.raises(OperatorError, match=f"is not an experiment's: it has {there} of something"):
        run(plan(), FakeMachine(tmp_path))


def test_a_full_disk_is_told_before_anything_runs(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, room_gb=1.0)

    with pytest.raises(OperatorError, match=r"1\.0 GB are free .* writes about 4: make room"):
        run(plan(disk_gb=4), machine)
    assert not machine.ran


def test_a_mark_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    done_with(tmp_path)
    (tmp_path / "steps" / "gold.json").write_text("{")

    with pytest.raises(OperatorError, match=r"steps/gold\.json can't be read"):
        run(plan(), FakeMachine(tmp_path))


def test_how_long_is_left_is_said_by_how_fast_the_machine_is(tmp_path: Path) -> None:
    """By the rates: twice ten minutes, three evaluations and a training of an hour, two starts."""
    lines = list[str]()

    run(plan(), FakeMachine(tmp_path), lines)

    places = [line.strip() for line in lines if line.startswith("\nstep")]
    assert places[0] == "step 1 of 6, gold: about 10 min; 4.3 h left in all"
    # A rollout that should have taken ten minutes took an hour: that says nothing of trainings.
    assert places[3] == "step 4 of 6, train: about 60 min; 3.0 h left in all"
    assert places[5].startswith("step 6 of 6, again: about 60 min")


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with Experiment(tmp_path).held(), pytest.raises(OperatorError, match="another process works"):
        run(plan(), FakeMachine(tmp_path))


GOLD = """
about: Gold rows.
rates: {tries: 0.1}
steps:
- {name: gold, run: agentlm rollout --env db --player gold -n 400 --name gold, units: {tries: 400}}
- name: file
  run: agentlm logs export --tags rollout=gold --min-reward 1 --output gold.jsonl
  makes: [gold.jsonl]
"""


def test_kill_9_leaves_no_process_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """With real commands: what was running ends with the program, and its tries are kept."""
    profile = tmp_path / "gold.yaml"
    profile.write_text(GOLD)
    place = tmp_path / "reproduction" / "gold-test"
    tries = place / "rollouts" / "gold" / "results.jsonl"
    first = start(profile, tmp_path)
    until = time.monotonic() + 200
    while not (tries.exists() and len(tries.read_text().splitlines()) > 5):
        assert time.monotonic() < until
        time.sleep(0.05)
    first.kill()
    first.communicate()
    kept = len(results_in(tries))

    profile.write_text(GOLD.replace("400", "12"))  # begun and not done: it may be changed
    second = start(profile, tmp_path)
    _, errors = second.communicate(timeout=200)

    assert second.returncode == 0, errors
    found = re.search(r"(\d+) tries kept", errors)
    assert found is not None, errors
    assert int(found[1]) >= kept
    assert len((place / "gold.jsonl").read_text().splitlines()) >= 12
    assert "agentlm logs export" in (place / "reproduction.md").read_text()


def start(profile: Path, data_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "agentlm.cli", "reproduce", "--profile", str(profile)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, "--data-dir", str(data_dir)], stdout=pipe, stderr=pipe, text=True
    )
