"""What trainers and evaluations leave in a data directory, without training or playing anything.

That they do leave it so is tested beside them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentlm.jobs.evaluations import EvaluatedRun
from agentlm.jobs.job import Job
from agentlm.models.registry import Registry

JOB = "ftjob-00aa"
MADE = "ft:tiny::mine:00aa00"

TRIES: Sequence[tuple[str, str | None]] = (
    ("a", None),
    ("b", "refusal"),
    ("c", "wrong answer"),
    ("d", None),
)
"""Tasks, and why each was missed."""


def row(model: str = "next", success: float = 0.5, **fields: Any) -> dict[str, Any]:
    """Of a report."""
    return {
        "environment": "db",
        "model": model,
        "decoding": "unconstrained",
        "played": {"name": model, "url": "http://x/v1", "weights_version": "w1"},
        "asked": 4,
        "judged": 4,
        "failed": 0,
        "success": success,
        "interval": [max(0.0, success - 0.25), min(1.0, success + 0.25)],
        "reward": success,
        "error_classes": {"refusal": 0.25, "call_error": 0.06},
        "families": {"counting": [round(4 * success), 4]},
        "floors": {"all": {"constant": 0.1, "random": 0.0, "answer": "secret", "tasks": 4}},
        "turns": 2.0,
        "completion_tokens": 40.0,
        "seconds": 1.5,
        **fields,
    }


def report(*rows: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """One of `agentlm eval`."""
    plain = {"settings": {"split": "test", "seed": 0}, "differences": [], "unknown": 1}
    return {**plain, "rows": list(rows) or [row()], **fields}


def difference(base: str, candidate: str) -> dict[str, Any]:
    """Of a report."""
    compared = {"base": base, "candidate": candidate, "tasks": 4, "clusters": 2}
    measured = {"difference": 0.25, "interval": [0.02, 0.48]}
    return {"environment": "db", "decoding": "unconstrained", **compared, **measured}


def evaluated(
    data_dir: Path,
    name: str,
    report: dict[str, Any] | str,
    models: Sequence[str] = ("next",),
    instruction: str = "<b>How many?</b>",
    trajectory_id: str | None = None,
    at: float | None = None,
) -> None:
    """Leave an evaluation, with a run of each model at each of four tasks; `at` is when."""
    directory = data_dir / "evaluations" / name
    directory.mkdir(parents=True)
    text = report if isinstance(report, str) else json.dumps(report)
    (directory / "report.json").write_text(text)
    if at is not None:
        os.utime(directory / "report.json", (at, at))
    lines = (
        EvaluatedRun(
            id=f"{task}-{model}",
            environment="db",
            model=model,
            decoding="unconstrained",
            task_id=task,
            attempt=0,
            family="counting",
            instruction=instruction,
            group=group,
            outcome="completed",
            reward=float(group is None),
            trajectory_id=trajectory_id or f"t-{task}",
        )
        for model in models
        for task, group in TRIES
    )
    kept = "".join(f"{line.model_dump_json()}\n" for line in lines)
    (directory / "report.runs.jsonl").write_text(kept)


def begun(data_dir: Path, base: str = "tiny", at: int = 1, **state: Any) -> Path:
    """Leave a job whose trainer has not done a step; returns its run's directory."""
    job = Job(data_dir / "jobs" / JOB)
    job.directory.mkdir(parents=True)
    request = {"id": JOB, "created_at": at, "owner": None, "model": base, "training": "log:"}
    request |= {"fine_tuned_model": MADE, "training_file": "log:environment=db"}
    (job.directory / "request.json").write_text(json.dumps(request))
    job.update(**{"status": "paused", **state})
    run = data_dir / "runs" / MADE
    run.mkdir(parents=True)
    return run


def trained(run: Path, steps: int, planned: int, reason: str) -> None:
    """Let a run have come so far; `reason` is why a row was left out."""
    lines = [_line(step) for step in range(steps)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    examples = [{"trajectory": "0" * 32, "reason": reason, "count": 3}]
    drops = {"dropped": {"no_answer": 3, "near_duplicate": 12}, "examples": {"no_answer": examples}}
    found = {"rows": 120, "kept": 105, "scrubbed": {"key": 1}, "rendered_anew": 2, **drops}
    (run / "selection.json").write_text(json.dumps({"agent": found}))
    counts = {"rows": 105, "tokens": 91_000, "trained_tokens": 14_000, "longest": 1800, "weight": 1}
    (run / "report.json").write_text(json.dumps({"steps": planned, "sources": {"agent": counts}}))
    text = "<|im_start|>user\nHow many apples?<|im_end|>\n<|im_start|>assistant\n"
    answer_text = "Thought: I count them.\nFinal Answer: 4<|im_end|>"
    (run / "samples.json").write_text(
        json.dumps({"agent": [[[text, False], [answer_text, True]]] * 2})
    )
    (run / "recipe.json").write_text(json.dumps({"base": "tiny", "lora_rank": 16, "lr": 2e-4}))


def _line(step: int) -> dict[str, float]:
    loss = 0.4 + 1.6 * math.exp(-step / 20) + 0.05 * math.sin(step)
    line = {"step": step, "loss": loss, "lr": 2e-4, "grad_norm": 1 / (1 + step)}
    if step % 10 == 9:
        line["held_out_loss"] = loss + 0.1
    return line | {"tokens": 2000 + step, "trained_tokens": 300, "seconds": 18.0}


def succeed(
    registry: Registry,
    data_dir: Path,
    name: str = "next",
    base: str = "tiny",
    at: float = 1.9e9,
    **verdict: Any,
) -> None:
    """Register a successor, which the gate did not pass."""
    run = data_dir / "runs" / name
    run.mkdir(parents=True, exist_ok=True)
    fields = {"candidate": name, "incumbent": base, "passed": False, "gain": -0.1}
    fields |= {"reasons": ["db: -10.0%"]} | verdict
    (run / "gate.json").write_text(json.dumps(fields))
    training = {"run": str(run), "rows": 8, "steps": 60, "first_loss": 2.0, "last_loss": 0.5}
    changed = {"name": name, "parent": base, "training": training, "created": at}
    registry.add(registry.get(base).model_copy(update=changed))
