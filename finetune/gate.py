"""The gate: a candidate may be promoted only if the recipe's rule holds for its evaluation.

`agentlm eval --model CANDIDATE --base INCUMBENT` measures both on the same tasks and writes
report.json; this module reads it. The rule has three conditions: on no family of tasks may the
candidate be plausibly worse than allowed, over all families it must be better, and it may not have
lost more of its general ability than allowed. "Plausibly" refers to the 95% interval of the paired
difference, so too few tasks fail the gate rather than pass it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

from pydantic import Field

from agentlm.console import Console
from agentlm.errors import OperatorError
from agentlm.files import write_text
from agentlm.finetune.run import Run
from agentlm.jobs.evaluations import Ability as Measured
from agentlm.jobs.evaluations import Difference, EvaluationReport, read_report
from agentlm.models.aliases import Verdict
from agentlm.models.cards import ModelCard
from agentlm.settings import Settings

Ability = Literal["hellaswag", "truthfulqa", "perplexity", "instructions", "abstention"]
"""Choices of `agentlm eval --general`."""
Split = Literal["train", "dev", "dev2", "test", "test-kinds"]
"""Choices of `agentlm eval --split`."""


class GateRule(Settings):
    """When a candidate may replace the incumbent."""

    gate_env: tuple[str, ...] = ("db", "os", "kg")
    """Families of tasks that are measured."""
    gate_tasks: int = Field(default=100, ge=1)
    """Tasks of each family; fewer that both models have a result for fail the gate."""
    gate_split: Split = "test"
    """Which tasks: a split that decides again and again is not one to report."""
    gate_seed: int = 0
    """Seed of the tasks: another one means other tasks."""
    gate_max_tokens: int = Field(default=512, ge=1)
    """Tokens that a model may write per turn."""
    gate_concurrency: int = Field(default=8, ge=1)
    """Tries at a time."""
    gate_max_loss: float = Field(default=0.1, ge=0, le=1)
    """On each family the lower end of the difference's interval must be above minus this."""
    gate_min_gain: float = Field(default=0.0, ge=-1, le=1)
    """The mean difference over all families must be above this."""
    gate_general: tuple[Ability, ...] = ("perplexity", "instructions")
    """General abilities that are measured too, by as many cases as tasks of a family: of
    hellaswag, truthfulqa, perplexity, instructions and abstention."""
    gate_general_max_loss: float = Field(default=0.1, ge=0)
    """How much of each ability the new model may lose: this much of a share, this fraction for
    perplexity."""
    gate_decoding: str = "unconstrained"
    """How the answers that count were decoded."""
    gate_base_url: str | None = None
    """Server of the model it came from, if it is not the one that the new model is published to:
    full weights take its place there."""


def gate(rule: GateRule, card: ModelCard, url: str, api_key: str | None) -> Verdict:
    """Evaluate a served model beside its parent, apply the rule to the result, and keep the verdict
    with the model's run.

    Raises OperatorError if there is nothing to compare with, or no place to keep the verdict.
    """
    run = check_gated(card, rule)
    name = f"gate-{card.name}"
    names = {"candidate": card.name, "incumbent": card.parent or ""}
    measure(rule, url=url, api_key=api_key, name=name, **names)
    report = rule.data_dir / "evaluations" / name / "report.json"
    verdict = judge(report, rule=rule, **names)
    verdict = verdict.model_copy(update={"alarm": reward_alarm(Run(run).metrics(), verdict.gain)})
    write_text(run / "gate.json", verdict.model_dump_json(indent=2) + "\n")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"gate {'passed' if verdict.passed else 'failed'}: gain {verdict.gain:+.1%}")
    for reason in filter(None, (verdict.alarm, *verdict.reasons)):
        console.print(f"  {reason}")
    return verdict


def reward_alarm(metrics: Sequence[Mapping[str, float]], gain: float) -> str | None:
    """What a training by rewards looks like that learned something else than what they stand for:
    it does more of what paid, and solves less of what it was not trained on."""
    tenth = metrics[-max(1, len(metrics) // 10) :]
    expected = fmean([line.get("expected_gain", 0.0) for line in tenth] or [0.0])
    if expected <= 0 or gain >= 0:
        return None
    return (
        f"reward up, held-out down: by its own tries the training gained {expected:+.4f} a token, "
        f"and on tasks that it has not seen the gain is {gain:+.1%}; look at what the reward pays "
        "for, and at fewer steps"
    )


def check_gated(card: ModelCard, rule: GateRule) -> Path:
    """The run of a model that can be measured. Raises OperatorError for any other model."""
    run = (card.training or {}).get("run")
    if card.parent is None or not run or not Path(str(run)).is_dir():
        raise OperatorError(
            f"{card.name} was not trained here: there is no model that it came from to measure it "
            "beside, or no run to keep the verdict in"
        )
    if card.adapter is None and not rule.gate_base_url:
        raise OperatorError(
            f"{card.name} has full weights, which take the place of {card.parent} on a server: "
            "give --gate-base-url URL, where that runs"
        )
    return Path(str(run))


def measure(
    rule: GateRule, *, url: str, api_key: str | None, candidate: str, incumbent: str, name: str
) -> None:
    """Run `agentlm eval` on the server of both models, or of each. Continues after an interruption.

    Raises OperatorError if the evaluation could not be completed.
    """
    flags = {
        "--env": ",".join(rule.gate_env),
        "--limit": str(rule.gate_tasks),
        "--split": rule.gate_split,
        "--seed": str(rule.gate_seed),
        "--max-tokens": str(rule.gate_max_tokens),
        "--concurrency": str(rule.gate_concurrency),
        "--decoding": rule.gate_decoding,
        "--url": url,
        "--model": candidate,
        "--base": incumbent,
        "--name": name,
        "--data-dir": str(rule.data_dir),
    }
    flags |= {"--base-url": rule.gate_base_url} if rule.gate_base_url else {}
    flags |= {"--general": ",".join(rule.gate_general)} if rule.gate_general else {}
    program = "import sys; from agentlm.cli import main; sys.exit(main())"
    words = [word for pair in flags.items() for word in pair]
    # The evaluation is another part of the system, so it is run, not imported. The key is not on
    # the command line, where every user of the machine could read it.
    environment = os.environ | ({"AGENTLM_API_KEY": api_key} if api_key else {})
    done = subprocess.run(
        [sys.executable, "-c", program, "eval", *words], env=environment, check=False
    )
    if done.returncode != 0:
        raise OperatorError("the evaluation for the gate is not complete; run agentlm eval again")


class Judged(NamedTuple):
    """The result for one family."""

    difference: float
    complaint: str | None


def judge(report: Path, candidate: str, incumbent: str, rule: GateRule) -> Verdict:
    """Apply the rule to an evaluation's report.json.

    Raises OperatorError if the file is not such a report.
    """
    read = read_report(report)
    differences = {
        one.environment: one
        for one in read.differences
        if (one.candidate, one.base, one.decoding) == (candidate, incumbent, rule.gate_decoding)
    }
    families = [_family(name, differences.get(name), rule) for name in rule.gate_env]
    gain = fmean(family.difference for family in families)
    reasons = [family.complaint for family in families if family.complaint]
    if not gain > rule.gate_min_gain:
        reasons.append(f"over all, the gain is {gain:+.1%}, not above {rule.gate_min_gain:+.1%}")
    for name in rule.gate_general:
        lost = _general(name, read, (incumbent, candidate), rule.gate_general_max_loss)
        reasons += [lost] if lost else []
    return Verdict(
        candidate=candidate,
        incumbent=incumbent,
        passed=not reasons,
        gain=gain,
        reasons=tuple(reasons),
    )


def _family(name: str, difference: Difference | None, rule: GateRule) -> Judged:
    if difference is None:
        return Judged(0.0, f"{name} was not measured with {rule.gate_decoding} decoding")
    low, high = difference.interval
    if difference.tasks < rule.gate_tasks:
        return Judged(
            difference.difference, f"{name}: only {difference.tasks} tasks have both results"
        )
    if not low > -rule.gate_max_loss:
        change = f"{name}: {difference.difference:+.1%}, plausibly from {low:+.1%} to {high:+.1%}"
        return Judged(
            difference.difference, f"{change}; down to -{rule.gate_max_loss:.1%} is allowed"
        )
    return Judged(difference.difference, None)


def _general(
    name: str, report: EvaluationReport, models: tuple[str, str], allowed: float
) -> str | None:
    """Complaints about one general ability of incumbent and candidate."""
    measured = {one.model: one for one in report.abilities if one.measure == name}
    before, after = (measured.get(model, Measured(measure=name, model=model)) for model in models)
    if before.value is None or after.value is None:
        why = before.skipped or after.skipped or "the report has nothing of it"
        return f"{name} was not measured: {why}"
    # For perplexities the ratio counts, and lower is better.
    share = name != "perplexity"
    lost = before.value - after.value if share else after.value / before.value - 1
    if lost <= allowed:
        return None
    return (
        f"{name}: from {before.value:.3g} to {after.value:.3g}; a loss of {allowed:.1%} is allowed"
    )
