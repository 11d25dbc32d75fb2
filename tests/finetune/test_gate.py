"""The gate lets through what is better, and nothing that is plausibly worse or hardly measured."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agentlm.environments.evaluation.settings import EvalSettings
from agentlm.errors import OperatorError
from agentlm.finetune.gate import GateRule, judge, measure
from agentlm.finetune.settings import FinetuneSettings
from agentlm.settings import parse

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
    rule = GateRule(gate_base_url=base_url)
    named = {"candidate": "new", "incumbent": "old", "name": "gate-new"}
    measure(rule, url="http://new:8000", api_key=None, **named)

    settings = parse(EvalSettings, asked[0][4:], "agentlm eval")
    assert (settings.url, settings.base_url) == ("http://new:8000", base_url)
    assert settings.general == ("perplexity", "instructions")


def test_full_weights_are_gated_only_beside_a_server_of_the_old_ones() -> None:
    full = FinetuneSettings(from_logs=True, full=True, gate=True, publish="http://new:8000")

    with pytest.raises(OperatorError, match="--gate-base-url"):
        full.check()
    full.model_copy(update={"gate_base_url": "http://old:8000"}).check()


def test_something_else_than_a_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("[]")

    with pytest.raises(OperatorError, match="is no report of agentlm eval"):
        judge(tmp_path / "report.json", "new", "old", RULE)
