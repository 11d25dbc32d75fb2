"""DeepSpeed trains a tiny Llama by rewards: what went well becomes likelier than what did not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agentlm.finetune.training.model import load
from agentlm.models.registry import Registry
from agentlm.prompt.render import Renderer
from agentlm.trajectory import Trajectory
from support.finetune_logs import ANSWER, CALL, registered, write_log
from support.rewarded import WRONG, log_probabilities, tries

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

RUNS = """
import json, sys
from agentlm.errors import OperatorError
from agentlm.finetune.main import run
from agentlm.finetune.settings import FinetuneSettings
for settings in json.loads(sys.argv[1]):
    try:
        run(FinetuneSettings(**settings))
        print("done")
    except OperatorError as error:
        print(" ".join(str(error).split()))
"""
"""Several in one process: most of its time goes into importing."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, chatml_llama: Path) -> Path:
    data_dir = tmp_path_factory.mktemp("rewards")
    registered(data_dir, chatml_llama)
    return data_dir


@pytest.fixture(scope="module")
def four_tries(home: Path, chatml_llama: Path, by: Renderer) -> list[Trajectory]:
    weights = Registry(home).get("tiny").weights_version
    answers = [(CALL, ANSWER), (CALL, WRONG), (WRONG,), (ANSWER,)]
    return tries(chatml_llama, by, weights, answers, (1.0, 0.0, 0.0, 1.0))


@pytest.fixture(scope="module")
def outputs(home: Path, four_tries: list[Trajectory]) -> list[str]:
    """What the runs said at their ends."""
    write_log(home, four_tries)
    off = [
        [
            step.model_copy(update={"logprobs": tuple(x - 0.3 for x in step.logprobs or ())})
            if step.logprobs
            else step
            for step in one.steps
        ]
        for one in four_tries
    ]
    lines = [
        one.model_copy(update={"steps": tuple(steps), "id": f"{one.id}-off"})
        for one, steps in zip(four_tries, off, strict=True)
    ]
    (home / "off.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in lines))
    pair = {"prompt": "How many?", "chosen": "Twelve programs.", "rejected": "Nine of them."}
    (home / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    common = {"data_dir": str(home), "base": "tiny", "max_steps": 6, "lr": 0.005}
    common["precision"] = "float32"  # log-probabilities are compared to 1e-4
    runs = [
        {"method": "grpo", "from_logs": True, "name": "grown", "batch_size": 4},
        {"method": "grpo", "data": [str(home / "off.jsonl")], "name": "off"},
        {"method": "dpo", "data": [str(home / "pairs.jsonl")], "name": "preferring"},
        {"method": "kto", "from_logs": True, "name": "judged", "batch_size": 4},
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUNS, json.dumps([common | run for run in runs])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def metrics(home: Path, name: str) -> list[dict[str, float]]:
    lines = (home / "runs" / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_what_was_rewarded_becomes_likelier_and_what_was_not_less_likely(
    home: Path, outputs: list[str], four_tries: list[Trajectory], chatml_llama: Path
) -> None:
    assert outputs[0] == "done"
    before = load(chatml_llama, None, torch.float32)
    after = load(chatml_llama, home / "runs" / "grown" / "model", torch.float32)
    gains = []
    for one in four_tries[2:]:
        ids = list(one.token_ids())
        start = len(ids) - len(one.steps[-1].token_ids or ())
        now, then = (log_probabilities(it, ids)[start:].sum() for it in (after, before))
        gains.append(now - then)

    assert gains[0] < 0 < gains[1]
    found = metrics(home, "grown")
    assert found[0]["effective_sample_size"] == pytest.approx(1, abs=1e-3)
    assert found[-1]["effective_sample_size"] < 1
    log = (home / "runs" / "grown" / "run.log").read_text()
    assert "recorded and recomputed log-probabilities differ by" in log


def test_a_record_that_the_base_does_not_agree_with_is_refused_with_the_difference(
    outputs: list[str],
) -> None:
    assert "recorded and recomputed log-probabilities differ by 0.3 a token" in outputs[1]
    assert "0.01 is allowed" in outputs[1]


@pytest.mark.parametrize(("place", "name"), [(2, "preferring"), (3, "judged")])
def test_the_good_one_gains_on_the_bad_one_from_where_both_began(
    home: Path, outputs: list[str], place: int, name: str
) -> None:
    assert outputs[place] == "done"
    found = metrics(home, name)
    first, last = (
        [line.get("margin", line.get("margin_good", 0) - line.get("margin_bad", 0))]
        for line in (found[0], found[-1])
    )
    assert first[0] == pytest.approx(0, abs=1e-4)
    assert last[0] > 0.1
