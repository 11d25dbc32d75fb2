"""The gate lets through what is better, and nothing that is plausibly worse or hardly measured."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest

from agentlm.cli import main
from agentlm.environments import task as tasks
from agentlm.environments.evaluation.settings import EvalSettings
from agentlm.errors import OperatorError
from agentlm.finetune.gate import GateRule, Split, judge, measure, reward_alarm
from agentlm.finetune.settings import FinetuneSettings
from agentlm.models.aliases import Verdict
from agentlm.settings import parse
from support.finetune_logs import registered

RULE = GateRule(gate_env=("db", "os"), gate_tasks=100, gate_max_loss=0.1, gate_general=())


def difference(
    environment: str, gain: float, width: float = 0.05, tasks: int = 100
) -> dict[str, Any]:
    return {
        "environment": environment,
        "decoding": "unconstrained",
        "base": "old",
        "candidate": "new",
        "tasks": tasks,
        "difference": gain,
        "interval": [gain - width, gain + width],
    }


@pytest.mark.parametrize(
    ("differences", "complaint"),
    [
        ([difference("db", 0.2), difference("os", -0.02)], None),
        ([difference("db", 0.2), difference("os", -0.02, width=0.2)], "os: -2.0%, plausibly from"),
        ([difference("db", -0.01), difference("os", 0.0)], "over all, the gain is -0.5%"),
        ([difference("db", 0.2), difference("os", 0.2, tasks=9)], "os: only 9 tasks"),
        ([difference("db", 0.2)], "os was not measured"),
    ],
)
def test_the_rule_is_held_against_every_family(
    tmp_path: Path, differences: list[dict[str, Any]], complaint: str | None
) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"settings": {}, "rows": [], "differences": differences}))

    verdict = judge(report, "new", "old", RULE)

    assert verdict.passed == (complaint is None)
    assert complaint is None or complaint in " ".join(verdict.reasons)


@pytest.mark.parametrize(
    ("measure", "before", "after", "complaint"),
    [
        ("instructions", 0.5, 0.41, None),
        ("instructions", 0.5, 0.0, "instructions: from 0.5 to 0; a loss of 10.0% is allowed"),
        ("perplexity", 20.0, 21.9, None),
        ("perplexity", 20.0, 900.0, "perplexity: from 20 to 900"),
        ("perplexity", 20.0, None, "perplexity was not measured: no logprobs"),
    ],
)
def test_a_model_that_forgot_what_it_could_does_not_pass(
    tmp_path: Path, measure: str, before: float | None, after: float | None, complaint: str | None
) -> None:
    abilities = [
        {"measure": measure, "model": model, "value": value, "skipped": "no logprobs"}
        for model, value in (("old", before), ("new", after))
    ]
    report = tmp_path / "report.json"
    differences = [difference("db", 0.2), difference("os", 0.2)]
    report.write_text(json.dumps({"differences": differences, "abilities": abilities}))

    verdict = judge(report, "new", "old", RULE.model_copy(update={"gate_general": (measure,)}))

    assert verdict.passed == (complaint is None)
    assert complaint is None or complaint in verdict.reasons[0]


@pytest.mark.parametrize("base_url", [None, "http://old:8000"])
def test_the_incumbent_may_run_on_another_server(
    monkeypatch: pytest.MonkeyPatch, base_url: str | None
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    asks = {"gate_split": "dev", "gate_seed": 7, "gate_max_tokens": 64}
    rule = GateRule(gate_base_url=base_url, **asks)
    named = {"candidate": "new", "incumbent": "old", "name": "gate-new"}
    measure(rule, url="http://new:8000", api_key=None, **named)

    settings = parse(EvalSettings, asked[0][4:], "agentlm eval")
    assert (settings.url, settings.base_url) == ("http://new:8000", base_url)
    assert settings.general == ("perplexity", "instructions")
    assert (settings.split, settings.seed, settings.max_tokens) == ("dev", 7, 64)


def test_full_weights_are_gated_only_beside_a_server_of_the_old_ones() -> None:
    full = FinetuneSettings(from_logs=True, full=True, gate=True, publish="http://new:8000")

    with pytest.raises(OperatorError, match="--gate-base-url"):
        full.check()
    full.model_copy(update={"gate_base_url": "http://old:8000"}).check()


def test_the_gate_asks_of_the_splits_there_are() -> None:
    assert get_args(Split) == get_args(tasks.Split)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "next was not trained here"),
        ({"parent": "tiny"}, "next was not trained here"),
        ({"parent": "tiny", "training": {"run": "gone"}}, "next was not trained here"),
        ({"parent": "tiny", "training": {"run": "."}}, "next has full weights, which take"),
    ],
)
def test_what_can_not_be_gated_is_refused_before_a_server_is_asked(
    tmp_path: Path,
    chatml_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fields: dict[str, Any],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    registered(tmp_path, chatml_llama, "next", **fields)

    assert main(["models", "gate", "next", "--data-dir", str(tmp_path)]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("gain", [0.2, -0.2])
def test_a_model_is_gated_apart_from_its_training_and_keeps_the_verdict(
    tmp_path: Path, chatml_llama: Path, monkeypatch: pytest.MonkeyPatch, gain: float
) -> None:
    run = tmp_path / "runs" / "new"
    run.mkdir(parents=True)
    card = {"parent": "old", "training": {"run": str(run)}}
    registered(tmp_path, chatml_llama, "new", **card)
    report = tmp_path / "evaluations" / "gate-new" / "report.json"

    def evaluate(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        report.parent.mkdir(parents=True)
        report.write_text(json.dumps({"differences": [difference("db", gain)]}))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", evaluate)
    served: list[str] = []
    monkeypatch.setattr("agentlm.commands.gate.publish", lambda *asked: served.append(asked[2]))
    flags = ["--gate-env", "db", "--gate-general=[]", "--gate-base-url", "http://old:8000"]

    code = main(["models", "gate", "new", *flags, "--data-dir", str(tmp_path)])

    assert (code, served) == (0 if gain > 0 else 1, ["new"])
    assert Verdict.model_validate_json((run / "gate.json").read_text()).passed == (gain > 0)


def test_something_else_than_a_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("[]")

    with pytest.raises(OperatorError, match="is not a report of agentlm eval"):
        judge(tmp_path / "report.json", "new", "old", RULE)


@pytest.mark.parametrize(
    ("expected", "gain", "rings"),
    [
        ([0.0, 0.01, 0.02], -0.05, True),
        ([0.0, 0.01, 0.02], 0.05, False),
        ([0.0, 0.01, -0.02], -0.05, False),
        ([None, None], -0.05, False),
        ([], -0.05, False),
    ],
)
def test_an_alarm_rings_where_the_reward_rose_and_what_was_held_out_fell(
    expected: list[float | None], gain: float, rings: bool
) -> None:
    lines = [{} if it is None else {"expected_gain": it} for it in expected]

    alarm = reward_alarm(lines, gain)

    assert (alarm is not None) == rings
    assert not rings or (alarm or "").startswith("reward up, held-out down: by its own tries")
