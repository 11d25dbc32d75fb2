"""Killed in the middle of a step or of a save, a run that learns from rewards goes on as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentlm.models.registry import Registry
from agentlm.prompt.render import Renderer
from support.finetune_logs import ANSWER, CALL, registered, write_log
from support.lives import lived
from support.rewarded import WRONG, tries

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

DEATHS = {
    "grpo": ["between steps", "in a file of a checkpoint", "the disk is full"],
    "dpo": ["before a checkpoint counts"],
    "kto": ["in a file of a checkpoint"],
}


@pytest.fixture(scope="module")
def lives(
    tmp_path_factory: pytest.TempPathFactory, chatml_llama: Path, by: Renderer
) -> tuple[Path, list[str], str]:
    """The data directory, how each life ended, and what was printed."""
    home = tmp_path_factory.mktemp("lives")
    registered(home, chatml_llama)
    weights = Registry(home).get("tiny").weights_version
    answers = [(CALL, ANSWER), (CALL, WRONG), (WRONG,), (ANSWER,)]
    write_log(home, tries(chatml_llama, by, weights, answers, (1.0, 0.0, 0.0, 1.0)))
    pairs = [
        {"prompt": f"How many {what}?", "chosen": "Twelve programs.", "rejected": "Nine of them."}
        for what in ("programs", "of them", "are there")
    ]
    (home / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    plan = [
        ({**settings_of(home, method), "name": f"{method}-{number}"}, moment)
        for method, deaths in DEATHS.items()
        for number, death in enumerate(["whole", *deaths])
        for moment in dict.fromkeys([death, "whole"])
    ]
    return home, *lived(plan)


def settings_of(home: Path, method: str) -> dict[str, object]:
    rows = {"data": [str(home / "pairs.jsonl")]} if method == "dpo" else {"from_logs": True}
    sizes: dict[str, object] = {"max_steps": 6, "batch_size": 4, "save_every": 2, "lr": 0.001}
    sizes["precision"] = "float32"  # log-probabilities are compared to 1e-4
    return {"data_dir": str(home), "base": "tiny", "method": method} | rows | sizes


def metrics(home: Path, name: str) -> list[dict[str, float]]:
    lines = (home / "runs" / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_life_ended_as_it_was_made_to(lives: tuple[Path, list[str], str]) -> None:
    _, codes, printed = lives
    expected = []
    for deaths in DEATHS.values():
        expected.append("0")
        for death in deaths:
            expected += ["1" if death == "the disk is full" else "-9", "0"]
    assert codes == expected, printed
    assert "the same command goes on from what is there" in printed


@pytest.mark.parametrize(
    ("method", "number"),
    [
        pytest.param(method, number, id=f"{method}, {death}")
        for method, deaths in DEATHS.items()
        for number, death in enumerate(deaths, 1)
    ],
)
def test_the_curve_is_the_same(
    lives: tuple[Path, list[str], str], method: str, number: int
) -> None:
    home = lives[0]
    whole, killed = metrics(home, f"{method}-0"), metrics(home, f"{method}-{number}")

    assert [line["step"] for line in killed] == list(range(6))
    times = {"seconds"}
    for before, after in zip(whole, killed, strict=True):
        assert after.keys() == before.keys()
        for name in before.keys() - times:
            assert after[name] == pytest.approx(before[name], rel=1e-4, abs=1e-6), name
    starts = json.loads((home / "runs" / f"{method}-{number}" / "starts.json").read_text())
    assert len(starts) == 2
