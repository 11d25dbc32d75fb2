"""The wheel turns until it is enough, and whatever happens meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agentlm.commands.reproduction.experiment import Experiment
from agentlm.commands.wheel import page, turns
from agentlm.commands.wheel.main import so_far, turn
from agentlm.commands.wheel.settings import WheelSettings
from agentlm.commands.wheel.turns import Wheel
from agentlm.environments.playing.progress import Result
from agentlm.errors import OperatorError
from agentlm.files import write_text
from agentlm.models.aliases import Aliases, Promotion
from agentlm.trajectory import Outcome
from support.machines import HOUR, FakeMachine, Killed, Moments, writes_are_moments


class WheelMachine(FakeMachine):
    """Leaves of each command the files that the wheel reads; every gate's answer is given, and
    None where a turn's tries leave nothing to train on."""

    def answers(self, *passed: bool | None) -> WheelMachine:
        self.passed = passed
        return self

    def run(self, words: Sequence[str]) -> int:
        flags = dict(pairwise(words))
        match words[:2]:
            case ["rollout", _]:
                results(self.directory / "rollouts" / flags["--name"])
            case ["finetune", _]:
                name = flags["--name"]
                if self._answer(name) is None:
                    super().run(words)
                    (self.directory / "cards" / name).unlink()
                    return 1
                write_text(self.directory / "models" / "cards" / f"{name}.json", card(name))
                selected = {"agent": {"kept": 3}}
                write_text(self.directory / "runs" / name / "selection.json", json.dumps(selected))
            case ["models", "gate"]:
                super().run(words)
                passed = bool(self._answer(words[2]))
                write_text(self.directory / "runs" / words[2] / "gate.json", verdict(passed))
                return 0 if passed else 1
            case ["models", "promote"]:
                if Aliases(self.directory).card("production") != words[2]:
                    Aliases(self.directory).add("production", Promotion(card=words[2]))
            case ["eval", _]:
                write_text(self.directory / "evaluations" / flags["--name"] / "report.json", "{}")
        return super().run(words)

    def _answer(self, candidate: str) -> bool | None:
        return self.passed[int(candidate.rsplit("-", 1)[1]) - 1]


def results(directory: Path) -> None:
    tries = [
        Result(
            task_id="t",
            attempt=attempt,
            environment="db",
            family="f",
            template="t",
            outcome=Outcome.COMPLETED,
            reward=reward,
            completion_tokens=10,
        )
        for attempt, reward in enumerate((1.0, 0.5, None))
    ]
    lines = ["{}", *(one.model_dump_json() for one in tries)]
    write_text(directory / "results.jsonl", "\n".join(lines) + "\n")


def card(name: str) -> str:
    return json.dumps({"name": name, "source": "local", "location": "/nowhere"})


def verdict(passed: bool) -> str:
    fields = {"candidate": "c", "incumbent": "i", "passed": passed, "gain": 0.1 if passed else -0.1}
    return json.dumps(fields | {"reasons": [] if passed else ["db: it is worse"]})


def wheel_of(tmp_path: Path, **fields: Any) -> WheelSettings:
    return WheelSettings(data_dir=tmp_path, **({"env": ("db",), "turns": 2} | fields))


def go(settings: WheelSettings, machine: FakeMachine, lines: list[str] | None = None) -> Wheel:
    experiment = Experiment(settings.directory, settings.data_dir)
    with experiment.held():
        return turn(settings, experiment, machine, (lines if lines is not None else []).append)


@pytest.fixture(autouse=True)
def _no_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations beside each other are another test's."""
    monkeypatch.setattr(page, "read_compared", lambda *_: ())


def named(machine: FakeMachine) -> list[str]:
    """What was run, by command and model."""
    words = [command.split() for command in machine.ran]
    return [
        " ".join(it[:3]) if it[0] == "models" else f"{it[0]} {it[it.index('--name') + 1]}"
        for it in words
    ]


def test_each_turn_plays_trains_gates_and_promotes_and_the_test_set_is_asked_once(
    tmp_path: Path,
) -> None:
    machine = WheelMachine(tmp_path).answers(True, True)

    wheel = go(wheel_of(tmp_path), machine)

    assert named(machine) == [
        "models promote smollm2-135m",
        "rollout wheel-1-db",
        "finetune wheel-1",
        "models gate wheel-1",
        "models promote wheel-1",
        "rollout wheel-2-db",
        "finetune wheel-2",
        "models gate wheel-2",
        "models promote wheel-2",
        "eval wheel-start",
        "eval wheel-end",
    ]
    start, one, two = "smollm2-135m", "wheel-1", "wheel-2"
    assert machine.served == ["", start, "", start, "", one, "", one, "", start, two]
    assert wheel.last == "wheel-2"
    splits = [word for command in machine.ran for word in command.split() if "dev" in word]
    assert splits == ["dev", "dev"]
    seeds = [
        after
        for command in machine.ran
        for before, after in pairwise(command.split())
        if before in ("--seed", "--gate-seed")
    ]
    assert seeds == ["0", "0", "1", "1"]
    text = (tmp_path / "wheels" / "wheel" / "wheel.md").read_text()
    assert "| 1 | smollm2-135m | 2 | 0.750 | 50.0% | 30 | 3 | 0 | +10.0 | passed |" in text


def test_it_ends_when_the_gate_says_no_twice_and_goes_on_from_who_has_the_alias(
    tmp_path: Path,
) -> None:
    machine, lines = WheelMachine(tmp_path).answers(True, False, False, True), list[str]()

    wheel = go(wheel_of(tmp_path, turns=9), machine, lines)

    assert [it.incumbent for it in wheel.turns] == ["smollm2-135m", "wheel-1", "wheel-1"]
    why = "two turns in a row have brought no model that passes"
    assert f"\nthe wheel ends: {why}; production is wheel-1" in lines
    assert named(machine)[-2:] == ["eval wheel-start", "eval wheel-end"]
    text = (tmp_path / "wheels" / "wheel" / "wheel.md").read_text()
    assert "Turn 2:\n* db: it is worse\n" in text


def test_a_turn_whose_tries_teach_nothing_counts_as_a_no(tmp_path: Path) -> None:
    machine, lines = WheelMachine(tmp_path).answers(None, True, None, False, True), list[str]()

    wheel = go(wheel_of(tmp_path, turns=9), machine, lines)

    assert [it.passed for it in wheel.turns] == [False, True, False, False]
    assert [it for it in named(machine) if "gate" in it] == [
        "models gate wheel-2",
        "models gate wheel-4",
    ]
    left_out = "gate-1: left out, because models/cards/wheel-1.json is not there"
    assert any(left_out in line for line in lines)
    text = (tmp_path / "wheels" / "wheel" / "wheel.md").read_text()
    assert "| 1 | smollm2-135m | 2 | 0.750 | 50.0% | 30 | 0 | 0 | +0.0 | failed |" in text
    assert "Turn 1:\n* its tries left nothing to train on, so there was no successor\n" in text
    assert so_far(wheel.settings, Experiment(wheel.settings.directory, tmp_path)) == wheel


def test_where_nothing_was_promoted_the_test_set_is_not_touched(tmp_path: Path) -> None:
    machine, lines = WheelMachine(tmp_path).answers(False, False), list[str]()

    go(wheel_of(tmp_path), machine, lines)

    assert not [it for it in machine.ran if it.startswith("eval")]
    assert "no model was promoted, so the test set was not used" in lines


def test_no_turn_begins_that_would_not_end_within_the_budget(tmp_path: Path) -> None:
    """A turn of four commands takes four hours, and what came before it one."""
    machine, lines = WheelMachine(tmp_path).answers(True, True, True), list[str]()

    wheel = go(wheel_of(tmp_path, turns=9, budget_hours=12), machine, lines)

    assert len(wheel.turns) == 2
    assert any("8 of 12 hours are spent, and a turn has taken up to 4" in line for line in lines)
    assert machine.clock[0] > 11 * HOUR  # with the test


def test_a_test_that_was_begun_ends_the_wheel_whatever_it_is_allowed_now(tmp_path: Path) -> None:
    machine = WheelMachine(tmp_path).answers(True, True, True, True)
    go(wheel_of(tmp_path, turns=1), machine)

    wheel = go(wheel_of(tmp_path, turns=3), machine)

    assert len(wheel.turns) == 1
    assert [it for it in named(machine) if "rollout" in it] == ["rollout wheel-1-db"]


def test_killed_anywhere_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every moment at which the process could die."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # it is no power cut
    answers = (True, None, True)
    whole = WheelMachine(tmp_path / "whole").answers(*answers)
    go(wheel_of(tmp_path / "whole", turns=3), whole)
    death, died = 0, True
    while died:
        death += 7
        place = tmp_path / str(death)
        moments, died = Moments(death), False
        machine = WheelMachine(place, moments).answers(*answers)
        with monkeypatch.context() as patch:
            writes_are_moments(moments, patch)
            try:
                go(wheel_of(place, turns=3), machine)
            except Killed:
                died = True
                moments.death, machine.serving = None, None
                go(wheel_of(place, turns=3), machine)
        assert list(dict.fromkeys(named(machine))) == named(whole)
        assert len(machine.ran) <= len(whole.ran) + 1
        history = [it.card for it in Aliases(place).history("production")]
        assert history == ["smollm2-135m", "wheel-1", "wheel-3"]
    assert death > 60


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"limit": 60}, "the step play-1-db was done as .* give another --name"),
        ({"method": "sft"}, "the step play-1-db was done as"),
        ({"base": "agentlm-135m"}, "began with smollm2-135m, not with --base agentlm-135m"),
    ],
)
def test_a_wheel_that_was_begun_otherwise_is_refused(
    tmp_path: Path, fields: dict[str, Any], complaint: str
) -> None:
    go(wheel_of(tmp_path, turns=1), WheelMachine(tmp_path).answers(True))

    with pytest.raises(OperatorError, match=complaint):
        go(wheel_of(tmp_path, **fields), WheelMachine(tmp_path).answers(True, True))


def test_it_begins_with_who_has_the_alias(tmp_path: Path) -> None:
    write_text(tmp_path / "models" / "cards" / "mine.json", card("mine"))
    Aliases(tmp_path).add("production", Promotion(card="mine"))
    experiment = Experiment(tmp_path / "wheels" / "wheel", tmp_path)

    assert so_far(wheel_of(tmp_path), experiment).start == "mine"
    with pytest.raises(OperatorError, match="production is mine: leave --base out"):
        so_far(wheel_of(tmp_path, base="smollm2-135m"), experiment)
    write_text(tmp_path / "models" / "cards" / "wheel-2.json", card("wheel-2"))
    with pytest.raises(OperatorError, match="a model is called wheel-2 already"):
        so_far(wheel_of(tmp_path), experiment)


def test_with_a_running_server_none_is_started_and_that_one_switches(tmp_path: Path) -> None:
    machine = WheelMachine(tmp_path).answers(True)

    go(wheel_of(tmp_path, turns=1, url="http://localhost:8000"), machine)

    assert set(machine.served) == {""}
    assert [it for it in machine.ran if "promote wheel-1" in it] == [
        "models promote wheel-1 --alias production --publish http://localhost:8000"
    ]


def test_how_long_a_turn_takes_is_said_once_there_was_one(tmp_path: Path) -> None:
    lines = list[str]()

    go(wheel_of(tmp_path), WheelMachine(tmp_path).answers(True, True), lines)

    assert "\nstep 2 of 4, play-1-db" in lines
    assert any(line.startswith("\nstep 6 of 8, play-2-db: about 60 min") for line in lines)


def test_kinds_of_steps_are_those_of_all_turns() -> None:
    wheel = Wheel(settings=WheelSettings(env=("db", "os")), start="m").with_turn()
    kinds = [turns.kind_of(step) for step in wheel.plan({}).steps]
    assert kinds == ["begin", "play-db", "play-os", "train", "gate"]
