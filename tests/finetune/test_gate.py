"""The gate lets through what is better, and nothing that is plausibly worse or hardly measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentlm.errors import OperatorError
from agentlm.finetune.gate import GateRule, judge

RULE = GateRule(gate_env=("db", "os"), gate_tasks=100, gate_max_loss=0.1)


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


def test_something_else_than_a_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("[]")

    with pytest.raises(OperatorError, match="is no report of agentlm eval"):
        judge(tmp_path / "report.json", "new", "old", RULE)
